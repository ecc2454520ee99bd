// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package chargen is the Character Generator Protocol of RFC 864, with the pattern that the RFC recommends: lines of 72
// printing characters, each line one character further in the ring of 95.
package chargen

import "github.com/quartet-go/quartet/reactor"

const (
	ring    = '~' - ' ' + 1 // the printing characters of ASCII, the space among them
	columns = 72
	line    = columns + len("\r\n")
	period  = ring * line // bytes after which the pattern repeats

	// A piece is as many whole periods as fit into 64 KiB. Since only whole pieces are written, each write starts where
	// the pattern does, and no connection has to remember where it is.
	piece = (64 << 10) / period * period

	// maxPieces is how much a connection whose client keeps up may write before the others of its loop have their turn.
	maxPieces = 4
)

var pattern = makePattern()

func makePattern() []byte {
	p := make([]byte, 0, piece)
	for first := 0; len(p) < piece; first++ {
		for column := range columns {
			p = append(p, ' '+byte((first+column)%ring))
		}
		p = append(p, "\r\n"...)
	}
	return p
}

// Stream sends the pattern as fast as the client reads it, and ignores what the client sends. It goes on after the
// client has shut down its writing half, until the connection is closed or the reactor drains.
func Stream(c *reactor.Conn) (reactor.Handler, error) {
	generate(c)
	return stream{}, nil
}

// generate writes until the client falls behind, when Writable goes on, or it is the others' turn.
func generate(c *reactor.Conn) {
	for {
		for range maxPieces {
			if _, err := c.Write(pattern); err != nil || c.Blocked() {
				return
			}
		}
		if c.Ref().Do(resume) == nil {
			return
		}
		// The mailbox is full. Nothing else would call again, so rather be unfair for a moment.
	}
}

func resume(c *reactor.Conn, err error) {
	if err == nil {
		generate(c)
	}
}

type stream struct{ reactor.Base }

func (stream) Data(_ *reactor.Conn, in []byte) (consumed int, err error) { return len(in), nil }

// EOF keeps the connection: a client that has nothing to say still wants to read.
func (stream) EOF(*reactor.Conn, []byte) error { return nil }

func (stream) Writable(c *reactor.Conn) { generate(c) }

// Draining ends what has no end of its own.
func (stream) Draining(c *reactor.Conn) { c.Close() }

// Datagram answers each datagram with the pattern's first line: the RFC wants no history or continuity from one answer to
// the next. It is a reactor.PacketFunc.
func Datagram(_ *reactor.PacketConn, d *reactor.Datagram) {
	_ = d.Reply(pattern[:line]) // never too long; later failures the reactor counts
}
