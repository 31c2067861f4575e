FROM debian:12
RUN apt-get update && apt-get install -y --no-install-recommends golang-go ca-certificates
WORKDIR /app
COPY . .
RUN go build -o /usr/local/bin/app .
CMD ["app"]
