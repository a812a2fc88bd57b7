# The process that holds a pod's namespaces: Debian's catatonit is static.
FROM scratch
COPY catatonit /catatonit
USER 65535:65535
ENTRYPOINT ["/catatonit", "-P"]
