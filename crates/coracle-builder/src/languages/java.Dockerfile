FROM debian:12
RUN apt-get update && apt-get install -y --no-install-recommends default-jdk-headless maven
WORKDIR /app
COPY . .
RUN mvn package
CMD java -jar target/*.jar
