// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package udpreply tells each sender of a datagram how long it was.
package udpreply

import (
	"fmt"

	"github.com/quartet-go/quartet/reactor"
)

// Datagram answers each datagram, empty ones included, with "The msg was N bytes long". It is a reactor.PacketFunc.
func Datagram(_ *reactor.PacketConn, d *reactor.Datagram) {
	answer := fmt.Appendf(d.Payload[:0], "The msg was %d bytes long", len(d.Payload))
	_ = d.Reply(answer) // never too long; later failures the reactor counts
}
