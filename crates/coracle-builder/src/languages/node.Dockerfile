FROM debian:12
RUN apt-get update && apt-get install -y --no-install-recommends nodejs npm
WORKDIR /app
COPY . .
RUN npm install --omit=dev
CMD ["npm", "start"]
