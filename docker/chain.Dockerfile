# A local chain: anvil from the pinned npm packages of this repository.
FROM node:20-bookworm-slim
WORKDIR /opt/chain
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund && install -d -o node -g node /state
ENV PATH=/opt/chain/node_modules/.bin:$PATH
USER node
WORKDIR /state
ENTRYPOINT ["anvil"]
