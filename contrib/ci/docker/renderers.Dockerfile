# clm with all renderers. In a checkout of clm, and then in a course:
#
#   docker build --tag clm --file contrib/ci/docker/renderers.Dockerfile .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/course" clm build
FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock README.md ./
COPY src src
COPY tests tests
RUN cargo build --release --locked --bin clm

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/clm /usr/local/bin/clm
# Whoever runs the container may start the renderers, and has a home.
ENV CLM_TOOLS_DIR=/opt/clm/tools HOME=/home/clm
RUN mkdir -p /home/clm && chmod 1777 /home/clm
RUN clm setup && chmod -R a+rwX /opt/clm/tools
WORKDIR /course
ENTRYPOINT ["clm"]
