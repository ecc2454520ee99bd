// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"encoding/binary"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/logging"
)

// serveGnetBatch is gnet with what its users do where messages come together: what a read brought is looked at once, and
// the answers to its messages are gathered and written together. Nothing else differs from gnet.
func serveGnetBatch(c config, listening func()) error {
	b := &gnetBatch{gnetEngine: gnetEngine{listening: listening}}
	switch c.service {
	case "frames":
		b.head, b.size = framePrefix, func(p []byte) int { return framePrefix + int(binary.BigEndian.Uint32(p)) }
	case "fixed":
		b.head, b.size = 1, func([]byte) int { return c.size }
	default:
		return unsupported("is gnet in everything but frames and fixed")
	}
	if c.network == "udp" {
		return noService(c)
	}
	return gnet.Run(b, c.network+"://"+c.address, gnet.WithNumEventLoop(c.loops), gnet.WithLogLevel(logging.ErrorLevel))
}

// A gnetBatch has the answers to one read in the context of their connection.
type gnetBatch struct {
	gnetEngine
	head int              // how many bytes of a message tell its size
	size func([]byte) int // of the message that begins so
}

func (b *gnetBatch) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	c.SetContext(new([]byte))
	return nil, gnet.None
}

func (b *gnetBatch) OnTraffic(c gnet.Conn) gnet.Action {
	head, err := c.Peek(b.head)
	if err != nil {
		return gnet.None
	}
	n := b.size(head)
	if n <= framePrefix+maxFrame && c.InboundBuffered() < n {
		return gnet.None // looking at all of a large message would copy it for every piece
	}
	in, _ := c.Peek(-1)
	out := c.Context().(*[]byte)
	*out = (*out)[:0]
	rest := in
	for ; n <= len(rest); n = b.size(rest) {
		*out = append(*out, rest[:n]...)
		if rest = rest[n:]; len(rest) < b.head {
			break
		}
	}
	_, _ = c.Discard(len(in) - len(rest))
	_, _ = c.Write(*out) // which keeps none of it
	if n > framePrefix+maxFrame {
		return gnet.Close
	}
	return gnet.None
}
