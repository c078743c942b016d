//! RocketMQ's protocol over sockets: connections, accept loop, request/response client.
