FROM debian:12
RUN apt-get update && apt-get install -y --no-install-recommends php-cli
WORKDIR /app
COPY . .
CMD php -S 0.0.0.0:$PORT
