// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// everyCodec is a SPEC of each kind.
var everyCodec = []string{
	"fixed:7", "len:1", "len:2", "len:4", "len:8", "length:size=2,offset=2,strip=4,adjust=0", "length:size=4,order=little,strip=4",
	"varint", "line", "delim:hex=00", "delim:hex=0d0a+0a", "delim:hex=2424,keep", "netstring",
}

// Frames delivers what a codec encoded, over every codec, however the bytes arrive.
func TestFramesOverEveryCodec(t *testing.T) {
	for _, spec := range everyCodec {
		t.Run(spec, func(t *testing.T) {
			c, err := codec.Parse(spec)
			require.NoError(t, err)
			got := make(chan string, 100)
			s := transport{"tcp", 1}.serve(t, shared(reactor.Frames(c, reactor.FrameFunc(func(_ *reactor.Conn, p []byte) error {
				got <- string(p)
				return nil
			}))), nil)
			var stream []byte
			var want []string
			for i := range 50 {
				payload := fmt.Sprintf("frame%02d", i)
				if spec == "delim:hex=2424,keep" {
					payload += "$$" // the payload is the whole frame
				}
				want = append(want, payload)
				stream, err = c.AppendFrame(stream, []byte(payload))
				require.NoError(t, err)
			}
			cl := s.dial()
			for len(stream) > 0 {
				n := min(1+rand.IntN(20), len(stream))
				cl.send(string(stream[:n]))
				stream = stream[n:]
			}
			for _, payload := range want {
				require.Equal(t, payload, receive(t, got))
			}
		})
	}
}

// A handshake in lines, then frames with a length: no byte that came with the handshake is lost, and only the new
// handler hears the end.
func TestUpgrade(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		prefix := codec.LengthPrefix(2, 1<<16)
		type ended struct {
			which string
			err   error
		}
		ends := make(chan ended, 2)
		upgraded := reactor.Frames(prefix, &framesUntilEnd{
			frame: func(c *reactor.Conn, p []byte) error { return c.Send(prefix, p) },
			end:   func(err error) { ends <- ended{"frames", err} },
		})
		line := codec.Line(100)
		s := tr.serve(t, shared(reactor.Frames(line, &framesUntilEnd{
			frame: func(c *reactor.Conn, p []byte) error {
				if string(p) == "UPGRADE" {
					c.SetHandler(upgraded)
				}
				return c.Send(line, p)
			},
			end: func(err error) { ends <- ended{"line", err} },
		})), nil)
		for _, pieces := range [][]string{
			{"hello\nUPGRADE\n\x00\x03a\nb\x00\x01", "c"}, // all at once, a frame cut, an LF in the payload
			{"hello\n", "UPGRADE\n", "\x00\x03a\nb", "\x00\x01c"},
			{"hello\nUPGRADE\n\x00", "\x03a\nb\x00\x01c"},
		} {
			cl := s.dial()
			for _, piece := range pieces {
				cl.send(piece)
			}
			require.NoError(t, cl.CloseWrite())
			require.Equal(t, "hello\nUPGRADE\n\x00\x03a\nb\x00\x01c", cl.rest())
			end := receive(t, ends)
			require.Equal(t, "frames", end.which)
			require.ErrorContains(t, end.err, "EOF")
		}
		require.Empty(t, ends)
	})
}

// framesUntilEnd is a FrameHandler of two functions.
type framesUntilEnd struct {
	reactor.FrameBase
	frame func(c *reactor.Conn, p []byte) error
	end   func(err error)
}

func (h *framesUntilEnd) Frame(c *reactor.Conn, p []byte) error { return h.frame(c, p) }
func (h *framesUntilEnd) Close(_ *reactor.Conn, err error)      { h.end(err) }
