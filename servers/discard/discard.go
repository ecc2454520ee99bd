// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package discard is the Discard Protocol of RFC 863: what a client sends is thrown away.
package discard

import "github.com/quartet-go/quartet/reactor"

// Stream receives until the client ends the connection, and answers nothing.
func Stream(*reactor.Conn) (reactor.Handler, error) { return stream, nil }

var stream = reactor.DataFunc(func(_ *reactor.Conn, in []byte) (consumed int, err error) {
	return len(in), nil
})

// Datagram answers nothing. It is a reactor.PacketFunc.
func Datagram(*reactor.PacketConn, *reactor.Datagram) {}
