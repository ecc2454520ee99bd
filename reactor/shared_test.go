// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// sharedSizes are those at which something else happens with a message, and their neighbours.
var sharedSizes = []int{1, 100, 511, 512, 513, 4095, 4096, 16 << 10, 64 << 10, 1 << 20, 0, 3 << 20, 1}

// A shared message arrives whole and in the order of its writing among others, whoever writes and whether or not the
// kernel takes it at once.
func TestSharedInOrder(t *testing.T) {
	var stream []byte
	var messages []*reactor.Message
	for _, n := range sharedSizes {
		p := pattern(n)
		messages = append(messages, reactor.Shared(p))
		stream = append(append(stream, fmt.Sprintf("<%d", n)...), append(p, '>')...)
		require.Equal(t, n, messages[len(messages)-1].Len())
	}
	writeAll := func(c *reactor.Conn) {
		for i, m := range messages {
			_, err := fmt.Fprintf(c, "<%d", sharedSizes[i])
			require.NoError(t, err)
			require.NoError(t, c.WriteShared(m))
			_, err = c.Write([]byte(">"))
			require.NoError(t, err)
		}
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		rows := map[string]func(t *testing.T, ref reactor.Ref){
			"Ref": func(t *testing.T, ref reactor.Ref) {
				for i, m := range messages {
					_, err := fmt.Fprintf(ref, "<%d", sharedSizes[i])
					require.NoError(t, err)
					require.NoError(t, ref.WriteShared(m))
					_, err = ref.Write([]byte(">"))
					require.NoError(t, err)
				}
			},
			"Conn": func(t *testing.T, ref reactor.Ref) { do(t, ref, writeAll) },
			"another's step": func(t *testing.T, ref reactor.Ref) {
				s := start(t, reactor.Options{Loops: 1})
				accept, refs := accepted(&hooks{})
				lis := s.listen("tcp", "127.0.0.1:0", accept, nil)
				one, other := dialTo(t, lis.Addr()), dialTo(t, lis.Addr())
				receive(t, refs)
				var target *reactor.Conn
				mine := receive(t, refs)
				do(t, mine, func(c *reactor.Conn) { target = c })
				for conn := range s.Conns() {
					if conn != mine {
						do(t, conn, func(*reactor.Conn) { writeAll(target) })
					}
				}
				cl := one
				if target.Tuple().Remote.String() == other.LocalAddr().String() {
					cl = other
				}
				cl.expectBytes(stream)
				do(t, ref, writeAll) // the row's own client, too
			},
		}
		for name, write := range rows {
			t.Run(name, func(t *testing.T) {
				accept, refs := accepted(&hooks{})
				s := tr.serve(t, accept, nil)
				cl := s.dial()
				write(t, receive(t, refs))
				cl.expectBytes(stream)
				eventually(t, "nothing is buffered any more", func() bool { return s.Buffered() == 0 })
			})
		}
	})
}

// What the accept func writes waits until there is a handler, and is lost if the connection is refused.
func TestSharedWhileAccepting(t *testing.T) {
	message := reactor.Shared(pattern(64 << 10))
	forEachNetwork(t, func(t *testing.T, tr transport) {
		refuse := true
		s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
			if err := c.WriteShared(message); err != nil {
				return nil, err
			}
			if refuse {
				refuse = false
				return nil, net.ErrClosed
			}
			return &hooks{}, nil
		}, nil)
		s.dial().expectGone()
		s.dial().expectBytes(pattern(64 << 10))
		eventually(t, "nothing is buffered any more", func() bool { return s.Buffered() == 0 })
	})
}

// A frame is encoded once; what the encoder refuses is no message.
func TestSharedFrame(t *testing.T) {
	frames := codec.LengthPrefix(2, 100)
	payload := []byte("payload")
	m, err := reactor.SharedFrame(frames, payload)
	require.NoError(t, err)
	clear(payload) // it is copied
	_, err = reactor.SharedFrame(frames, make([]byte, 101))
	require.Error(t, err)

	accept, refs := accepted(&hooks{})
	s := transport{"tcp", 1}.serve(t, accept, nil)
	cl := s.dial()
	require.NoError(t, receive(t, refs).WriteShared(m))
	cl.expect("\x00\x07payload")
}

// A connection that has ended or been closed takes none, and says so.
func TestSharedAfterTheEnd(t *testing.T) {
	message := reactor.Shared(pattern(64 << 10))
	require.ErrorIs(t, reactor.Ref{}.WriteShared(message), net.ErrClosed)
	forEachNetwork(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(&hooks{})
		s := tr.serve(t, accept, nil)
		s.dial()
		ref := receive(t, refs)
		do(t, ref, func(c *reactor.Conn) {
			require.NoError(t, c.CloseWrite())
			require.ErrorIs(t, c.WriteShared(message), reactor.ErrWriteClosed)
			require.NoError(t, c.Close())
			require.ErrorIs(t, c.WriteShared(message), net.ErrClosed)
		})
		eventually(t, "the end", func() bool { return ref.WriteShared(message) != nil })
		require.ErrorIs(t, ref.WriteShared(message), net.ErrClosed)
		eventually(t, "nothing is buffered any more", func() bool { return s.Buffered() == 0 })
	})
}

// A slow receiver never holds more than its limit, and what it does not get it gets nothing of: whole messages arrive.
func TestSharedLimit(t *testing.T) {
	const size, limit = 48<<10 + 7, 256 << 10
	forEachTransport(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(&hooks{})
		s := tr.serve(t, accept, &reactor.StreamOptions{MaxOutput: limit})
		cl := s.dial()
		ref := receive(t, refs)
		taken := 0
		do(t, ref, func(c *reactor.Conn) {
			message := reactor.Shared(pattern(size))
			var err error
			for ; err == nil; taken++ {
				err = c.WriteShared(message)
			}
			taken--
			require.ErrorIs(t, err, reactor.ErrOverflow)
			require.LessOrEqual(t, c.Unsent(), limit)
			require.Greater(t, c.Unsent(), limit-size)
			require.NoError(t, c.Close())
		})
		cl.expectStream(bytes.Repeat(pattern(size), taken))
	})
	t.Run("a message above the limit", func(t *testing.T) {
		accept, refs := accepted(&hooks{})
		s := transport{"unix", 1}.serve(t, accept, &reactor.StreamOptions{HighWater: 1, MaxOutput: 1 << 10})
		cl := s.dial()
		ref := receive(t, refs)
		do(t, ref, func(c *reactor.Conn) {
			require.NoError(t, c.WriteShared(reactor.Shared(morePattern())))
			require.ErrorIs(t, c.WriteShared(reactor.Shared([]byte("x"))), reactor.ErrOverflow)
		})
		require.ErrorIs(t, ref.WriteShared(reactor.Shared([]byte("x"))), reactor.ErrOverflow)
		cl.expectBytes(morePattern())
	})
}

// However many wait for a message, it is there once: in memory, and for MaxBuffered. It is counted until the last of
// them is done, who may go in any way.
func TestSharedIsThereOnce(t *testing.T) {
	const receivers, size = 1000, 64 << 10
	accept, refs := accepted(&hooks{})
	s := transport{"unix", 2}.serve(t, accept, nil)
	clients := make([]client, receivers)
	to := make([]reactor.Ref, receivers)
	for i := range clients {
		clients[i] = s.dial()
		to[i] = receive(t, refs)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	messages, waiting := 0, 0
	for ; waiting < receivers*size/2; messages++ {
		m := reactor.Shared(pattern(size))
		for _, ref := range to {
			require.NoError(t, ref.WriteShared(m))
		}
		waiting = 0
		for _, ref := range to {
			do(t, ref, func(c *reactor.Conn) { waiting += c.Unsent() })
		}
	}
	runtime.ReadMemStats(&after)
	require.LessOrEqual(t, s.Buffered(), int64(messages*size+receivers*512))
	if !raceBuild { // under it pools are emptied at random
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(receivers*size/4))
	}

	for i, cl := range clients {
		switch i % 3 {
		case 0:
			cl.expectBytes(bytes.Repeat(pattern(size), messages))
		case 1:
			require.NoError(t, cl.Close())
		case 2:
			do(t, to[i], func(c *reactor.Conn) { c.Abort() })
		}
	}
	eventually(t, "nothing is buffered any more", func() bool { return s.Buffered() == 0 })
}
