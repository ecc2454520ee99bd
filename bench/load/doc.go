// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package load is the load generator: it sends requests, checks every byte that comes back and times the answers.
//
// It is not to be the bottleneck. A thread of it is one goroutine, locked, with a poller and a share of the connections;
// what it sends is a slice of a prepared tape and what it expects is the same tape, so that nothing is composed, copied
// or allocated for a message, and a batch of requests is one write. It measures how much of the time it did not wait for
// the server; near 1 the rate it reached says more about itself than about the server, and the reports say so. The
// server's CPU time for a message holds in any case.
//
// In a closed loop a connection has Depth requests in flight and sends the next when an answer is complete. Its latency
// is the time from writing a request, so it grows with the depth and hides that a slow server is asked less often. In
// an open loop requests have their times, a constant Rate over all connections, and latency counts from that time also
// when the request had to wait for its turn: what a client that does not slow down for the server would see.
//
// The files: window.go has the phases of a measurement and its result, tape.go the messages, poller.go what is asked of
// the system's poller and thread.go what all loads share; stream.go, datagram.go, churn.go and broadcast.go are a load
// each.
package load
