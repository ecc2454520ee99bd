// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import "github.com/tidwall/evio"

// serveEvio is evio as its examples write it, with the input buffer reused, which spares a copy of what was read.
func serveEvio(c config, listening func()) error {
	if c.network == "udp" && c.service != "echo" {
		return noService(c)
	}
	events := evio.Events{NumLoops: c.loops}
	events.Serving = func(evio.Server) evio.Action {
		listening()
		return evio.None
	}
	events.Opened = func(evio.Conn) ([]byte, evio.Options, evio.Action) {
		return nil, evio.Options{ReuseInputBuffer: true}, evio.None
	}
	switch c.service {
	case "echo":
		events.Data = func(_ evio.Conn, in []byte) ([]byte, evio.Action) { return in, evio.None }
	case "frames", "fixed":
		next := cutterOf(c)
		events.Opened = func(conn evio.Conn) ([]byte, evio.Options, evio.Action) {
			conn.SetContext(new(evioSession))
			return nil, evio.Options{ReuseInputBuffer: true}, evio.None
		}
		events.Data = func(conn evio.Conn, in []byte) ([]byte, evio.Action) {
			s := conn.Context().(*evioSession)
			s.out = s.out[:0]
			rest, err := next.each(s.in.Begin(in), func(message []byte) { s.out = append(s.out, message...) })
			if err != nil {
				return s.out, evio.Close
			}
			s.in.End(rest)
			return s.out, evio.None
		}
	case "push", "broadcast":
		return unsupported("cannot write from another goroutine: Wake, its only way to, replaces output that is not sent yet")
	default:
		return noService(c)
	}
	return evio.Serve(events, c.network+"://"+c.address)
}

// An evioSession is what a connection has received of a message that is not whole, and its answers to one read.
type evioSession struct {
	in  evio.InputStream
	out []byte
}
