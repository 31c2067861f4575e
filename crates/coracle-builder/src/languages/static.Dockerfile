FROM debian:12
RUN apt-get update && apt-get install -y --no-install-recommends busybox-static
WORKDIR /app
COPY . .
CMD busybox httpd -f -p $PORT
