// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package daytime is the Daytime Protocol of RFC 867: whoever asks is told the date and the time, as text.
package daytime

import (
	"time"

	"github.com/quartet-go/quartet/reactor"
)

// Layout is how the time is written, for time.Parse: the first of the RFC's two popular forms, always in UTC.
const Layout = "Monday, January 2, 2006 15:04:05-MST\r\n"

func now() []byte { return time.Now().UTC().AppendFormat(nil, Layout) }

// Stream sends the time and closes. What the client sends is thrown away.
func Stream(c *reactor.Conn) (reactor.Handler, error) {
	c.Write(now())
	return stream, c.Close()
}

var stream = reactor.DataFunc(func(_ *reactor.Conn, in []byte) (consumed int, err error) {
	return len(in), nil // only until the close takes effect
})

// Datagram answers each datagram with the time. It is a reactor.PacketFunc.
func Datagram(_ *reactor.PacketConn, d *reactor.Datagram) {
	_ = d.Reply(now()) // never too long; later failures the reactor counts
}
