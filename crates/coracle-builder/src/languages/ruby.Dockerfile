FROM debian:12
RUN apt-get update && apt-get install -y --no-install-recommends ruby ruby-bundler
WORKDIR /app
COPY . .
RUN bundle install
CMD ["bundle", "exec", "rackup", "--host", "0.0.0.0"]
