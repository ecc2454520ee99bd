// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package timeservice is the Time Protocol of RFC 868: whoever asks is told the seconds since 1900, as four bytes.
package timeservice

import (
	"encoding/binary"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

// Epoch is 1970-01-01 00:00 UTC in seconds since 1900-01-01 00:00 UTC, where the protocol's clock begins. The RFC gives
// this number.
const Epoch = 2_208_988_800

// now wraps around in 2036, as the protocol does.
func now() []byte { return binary.BigEndian.AppendUint32(nil, uint32(time.Now().Unix()+Epoch)) }

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
