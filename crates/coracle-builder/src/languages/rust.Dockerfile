FROM debian:12
RUN apt-get update && apt-get install -y --no-install-recommends cargo-web rustc-web gcc libc6-dev
WORKDIR /app
COPY . .
RUN cargo install --path . --root /usr/local
CMD ["app"]
