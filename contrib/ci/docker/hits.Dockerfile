# clm without renderers, for jobs whose results are all known: it restores and publishes, and reports what would have to
# run. `clm.lock` or the records say which renderers the results are of.
#
#   docker build --tag clm-hits --file contrib/ci/docker/hits.Dockerfile .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/course" clm-hits build
FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock README.md ./
COPY src src
COPY tests tests
RUN cargo build --release --locked --bin clm

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/clm /usr/local/bin/clm
ENV CLM_TOOLS_DIR=/opt/clm/tools HOME=/home/clm
RUN mkdir -p /home/clm /opt/clm/tools && chmod 1777 /home/clm /opt/clm/tools
WORKDIR /course
ENTRYPOINT ["clm"]
