# syntax=docker/dockerfile:1

FROM rust:1-bookworm AS build
WORKDIR /build
COPY . .
# Caches of the builder: what is needed later is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --locked --profile dist --package holdfast --bin holdfast \
 && cp target/dist/holdfast /holdfast

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin holdfast
COPY --from=build /holdfast /usr/local/bin/holdfast
COPY config /etc/holdfast
ENV HOLDFAST_CONFIG_DIR=/etc/holdfast \
    HOLDFAST_PROFILE=production \
    HOLDFAST__SERVER__HOST=0.0.0.0 \
    PORT=8080
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["holdfast", "healthcheck"]
ENTRYPOINT ["holdfast"]
CMD ["serve"]
