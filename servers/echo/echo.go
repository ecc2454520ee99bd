// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package echo is the Echo Protocol of RFC 862: what a client sends comes back.
//
// Two echo services that answer each other's datagrams never stop. The RFC says nothing about it; do not offer the
// datagram form where senders can be forged.
package echo

import "github.com/quartet-go/quartet/reactor"

// Stream sends back what it receives. A client that shuts down its writing half gets the whole of its echo before the
// connection closes. One that does not read is not read from: what waits for it is bounded by the high-water mark.
func Stream(*reactor.Conn) (reactor.Handler, error) { return stream, nil }

var stream = reactor.DataFunc(func(c *reactor.Conn, in []byte) (consumed int, err error) {
	return c.Write(in)
})

// Datagram sends each datagram back to its sender. It is a reactor.PacketFunc.
func Datagram(_ *reactor.PacketConn, d *reactor.Datagram) {
	_ = d.Reply(d.Payload) // as long as what came, so never too long; later failures the reactor counts
}
