//! How a route is registered: at the path, and for the method, that its handler's annotation says.
//!
//! Theory of operation: there is one list of routes, in [`server`](crate::server), and two things are made of it: the
//! router that serves, and the OpenAPI document. Describing the routes takes more code and more memory than serving
//! them, and the description changes only with the program: so it is made in tests, committed, and carried by the
//! program as it is.

use axum::Router;
use axum::handler::Handler;
use axum::routing::MethodRouter;
use utoipa_axum::PathItemExt as _;
#[cfg(test)]
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::state::ApiState;

/// The handlers at one path.
pub(crate) struct Route {
    path: String,
    methods: MethodRouter<ApiState>,
    /// How they are described.
    #[cfg(test)]
    description: fn() -> UtoipaMethodRouter<ApiState>,
}

impl Route {
    /// A path without handlers.
    pub(crate) fn new<P: utoipa::Path>() -> Self {
        Self {
            path: P::path(),
            methods: MethodRouter::new(),
            #[cfg(test)]
            description: || unreachable!("routes! describes each route"),
        }
    }

    /// With the handler that `P` describes.
    pub(crate) fn on<P: utoipa::Path, T: 'static>(
        mut self,
        handler: impl Handler<T, ApiState>,
    ) -> Self {
        debug_assert_eq!(P::path(), self.path, "another path is another route");
        for method in P::methods() {
            self.methods = self.methods.on(method.to_method_filter(), handler.clone());
        }
        self
    }

    /// As it is described by `description`.
    #[cfg(test)]
    pub(crate) fn described(self, description: fn() -> UtoipaMethodRouter<ApiState>) -> Self {
        Self {
            description,
            ..self
        }
    }
}

/// The [`Route`] of handlers of one path, each written `module::handler`.
macro_rules! routes {
    ($module:ident::$handler:ident $(, $modules:ident::$handlers:ident)* $(,)?) => {{
        let route = pastey::paste! {
            $crate::routes::Route::new::<$module::[<__path_ $handler>]>()
                .on::<$module::[<__path_ $handler>], _>($module::$handler)
                $(.on::<$modules::[<__path_ $handlers>], _>($modules::$handlers))*
        };
        #[cfg(test)]
        let route = route.described(|| {
            utoipa_axum::routes!($module::$handler $(, $modules::$handlers)*)
        });
        route
    }};
}
pub(crate) use routes;

/// What a list of routes is put into.
pub(crate) trait Routes {
    /// With one more.
    fn routes(self, route: Route) -> Self;
}

impl Routes for Router<ApiState> {
    fn routes(self, route: Route) -> Self {
        self.route(&route.path, route.methods)
    }
}

#[cfg(test)]
impl Routes for OpenApiRouter<ApiState> {
    fn routes(self, route: Route) -> Self {
        self.routes((route.description)())
    }
}
