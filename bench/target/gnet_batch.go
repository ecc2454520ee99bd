// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/logging"
)

// serveGnetBatch is gnet with what its users do against a write for each message: the answers to the messages of one read
// are gathered and written together. Nothing else differs from gnet.
func serveGnetBatch(c config, listening func()) error {
	b := &gnetBatch{gnetEngine{listening: listening}}
	gather := func(c gnet.Conn, message []byte) {
		out := c.Context().(*[]byte)
		*out = append(*out, message...)
	}
	switch c.service {
	case "frames":
		b.traffic = gnetFrames(gather)
	case "fixed":
		b.traffic = func(conn gnet.Conn) gnet.Action {
			for conn.InboundBuffered() >= c.size {
				message, _ := conn.Next(c.size)
				gather(conn, message)
			}
			return gnet.None
		}
	default:
		return unsupported("is gnet in everything but frames and fixed")
	}
	if c.network == "udp" {
		return noService(c)
	}
	return gnet.Run(b, c.network+"://"+c.address, gnet.WithNumEventLoop(c.loops), gnet.WithLogLevel(logging.ErrorLevel))
}

// A gnetBatch has the answers to one read in the context of their connection.
type gnetBatch struct{ gnetEngine }

func (b *gnetBatch) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	c.SetContext(new([]byte))
	return nil, gnet.None
}

func (b *gnetBatch) OnTraffic(c gnet.Conn) gnet.Action {
	out := c.Context().(*[]byte)
	*out = (*out)[:0]
	action := b.traffic(c)
	if len(*out) > 0 {
		_, _ = c.Write(*out) // which keeps none of it
	}
	return action
}
