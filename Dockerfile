FROM rust:1.95-bookworm AS build
# Opus is built from source.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --locked --release --bin hookswitch

FROM debian:bookworm-slim
# The embedded speech engine loads these at run time; the certificates are for services on the Internet.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates libflite1 libpocketsphinx3 pocketsphinx-en-us \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/hookswitch hookswitch \
    && install --directory --owner hookswitch --group hookswitch --mode 700 /var/lib/hookswitch/data
COPY --from=build /src/target/release/hookswitch /usr/local/bin/hookswitch

USER hookswitch
WORKDIR /var/lib/hookswitch
VOLUME /var/lib/hookswitch/data
# A container is reached through its own address only, so loopback would be no use. Callers still need a number that is
# configured, or HOOKSWITCH_SIP__OPEN=true for the demo agent to answer everyone. Where ports are mapped, peers must be
# told the outer address: HOOKSWITCH_SIP__ADVERTISE. Mapping the media ports is slow to start; `--network host` avoids it.
ENV HOOKSWITCH_SIP__LISTEN=udp://0.0.0.0:5060,tcp://0.0.0.0:5060 \
    HOOKSWITCH_HTTP__LISTEN=0.0.0.0:8080 \
    HOOKSWITCH_DATA__DIRECTORY=/var/lib/hookswitch/data
EXPOSE 5060/udp 5060/tcp 8080/tcp 16384-32767/udp

# Bash opens the connection itself, so the image needs no HTTP client.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${HOOKSWITCH_HTTP__LISTEN##*:} && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && grep --quiet '^ok' <&3"]
ENTRYPOINT ["hookswitch"]
CMD ["serve"]
