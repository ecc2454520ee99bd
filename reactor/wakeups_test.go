// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux

package reactor_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// maxWakeups is how often a loop may wake in a second in which nothing happens.
const maxWakeups = 20

// An idler is a server whose events are counted, with two connections.
type idler struct {
	*server
	events  func() int64
	ref     reactor.Ref
	client  client
	witness *witness
}

// A loop sleeps in every state that can last: what it cannot serve now does not wake it again and again. The states
// are made first and then watched for the same second.
func TestWakeups(t *testing.T) {
	t.Parallel()
	states := []struct {
		name  string
		most  int64 // events
		opts  reactor.Options
		enter func(t *testing.T, i *idler)
	}{
		{"idle", 0, reactor.Options{}, func(*testing.T, *idler) {}},
		{"paused", 1, reactor.Options{}, func(t *testing.T, i *idler) { do(t, i.ref, (*reactor.Conn).Pause) }},
		{"paused with data waiting", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			do(t, i.ref, (*reactor.Conn).Pause)
			i.client.send("waiting")
		}},
		{"paused with data and the end waiting", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			do(t, i.ref, (*reactor.Conn).Pause)
			i.client.send("waiting")
			require.NoError(t, i.client.CloseWrite())
		}},
		{"paused and the peer gone", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			do(t, i.ref, (*reactor.Conn).Pause)
			require.NoError(t, i.client.Close())
		}},
		{"half-closed by the peer", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			i.peerEnds(t)
		}},
		{"held after EOF", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			do(t, i.ref, func(c *reactor.Conn) { c.Hold() })
			i.peerEnds(t)
		}},
		{"writing half closed", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			do(t, i.ref, func(c *reactor.Conn) { _ = c.CloseWrite() })
			i.client.expectEOF()
		}},
		{"reading half closed", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			do(t, i.ref, func(c *reactor.Conn) { _ = c.CloseRead() })
			i.client.send("discarded")
		}},
		{"reading half closed and the peer ended", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			do(t, i.ref, func(c *reactor.Conn) { _ = c.CloseRead() })
			i.client.send("discarded")
			require.NoError(t, i.client.CloseWrite())
		}},
		{"both halves closed", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			do(t, i.ref, func(c *reactor.Conn) { _, _ = c.CloseRead(), c.CloseWrite() })
			i.client.send("discarded")
		}},
		{"both halves ended while held", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			do(t, i.ref, func(c *reactor.Conn) { c.Hold(); c.Pause(); _ = c.CloseWrite() })
			require.NoError(t, i.client.CloseWrite())
		}},
		{"blocked above high water", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			stall(t, i.ref, 100<<10)
		}},
		{"blocked with data waiting", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			stall(t, i.ref, 100<<10)
			i.client.send("waiting")
		}},
		{"blocked and half-closed by the peer", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			i.peerEnds(t)
			stall(t, i.ref, 100<<10)
		}},
		{"draining to a stalled reader", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			stall(t, i.ref, 100<<10)
			require.NoError(t, i.ref.Close())
			i.client.send("waiting")
		}},
		{"lingering", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			require.NoError(t, i.ref.Close())
			i.client.expectEOF()
		}},
		{"MaxConns reached with clients waiting", maxWakeups, reactor.Options{MaxConns: 1}, func(_ *testing.T, i *idler) {
			for range 5 {
				i.dial()
			}
		}},
		{"over MaxBuffered with data waiting", maxWakeups, reactor.Options{MaxBuffered: 64 << 10}, func(t *testing.T, i *idler) {
			// Its only holder leaves only output of one write, which does not shrink: it is closed; others are read
			// again.
			do(t, i.ref, func(c *reactor.Conn) { _, _ = c.Write(make([]byte, 1<<20)) })
		}},
		{"an out-of-band byte", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) { i.outOfBand(t) }},
		{"an out-of-band byte while paused", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			do(t, i.ref, (*reactor.Conn).Pause)
			i.outOfBand(t)
		}},
		{"dialling where nobody answers", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			addr, _ := fullListener(t, i.Listener.Addr().Network())
			fn, _ := connected(&hooks{})
			for range 30 {
				require.NoError(t, i.Dial(t.Context(), addr.Network(), addr.String(), fn, nil))
			}
		}},
		{"unconsumed input", maxWakeups, reactor.Options{}, func(_ *testing.T, i *idler) { i.client.send("half a") }},
		{"shut down and held", maxWakeups, reactor.Options{}, func(t *testing.T, i *idler) {
			do(t, i.ref, func(c *reactor.Conn) { c.Hold() })
			i.client.send("waiting")
			ctx, cancel := context.WithCancel(context.Background())
			var down sync.WaitGroup
			down.Go(func() { _ = i.Shutdown(ctx) })
			t.Cleanup(func() { cancel(); down.Wait() })
			i.draining()
			i.client.send("more")
		}},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		var idlers []*idler
		for _, state := range states {
			i := newIdler(t, tr, state.opts)
			state.enter(t, i)
			idlers = append(idlers, i)
		}
		time.Sleep(200 * time.Millisecond) // what entering the states set off
		before := make([]int64, len(idlers))
		for n, i := range idlers {
			before[n] = i.events()
		}
		time.Sleep(time.Second) // the window
		for n, i := range idlers {
			if woken := i.events() - before[n]; woken > states[n].most {
				t.Errorf("%s: %d events in a second, want at most %d", states[n].name, woken, states[n].most)
			}
		}
	})
}

// newIdler serves connections that consume nothing and stay after their peer's end.
func newIdler(t *testing.T, tr transport, o reactor.Options) *idler {
	t.Helper()
	o.Loops, o.Logger = 2, slog.New(slog.DiscardHandler)
	r, err := reactor.New(o)
	require.NoError(t, err)
	i := &idler{server: &server{t: t, Reactor: r, Log: new(logBook), served: make(chan error, 1)}, events: reactor.CountEvents(r)}
	i.witness = watch(t, &hooks{
		data: func(*reactor.Conn, []byte) (int, error) { return 0, nil },
		eof: func(c *reactor.Conn, _ []byte) error {
			noteEOF(c)
			return nil
		},
	})
	i.Listener = i.listen(tr.network, tr.address(t), i.witness.narrowed, nil)
	go func() { i.served <- r.Serve(context.Background()) }()
	t.Cleanup(func() {
		_ = r.Close()
		<-i.served
	})
	i.client = i.dialNarrow()
	i.ref = receive(t, i.witness.refs)
	return i
}

// peerEnds has the client shut down its writing half and waits until that was told.
func (i *idler) peerEnds(t *testing.T) {
	t.Helper()
	require.NoError(t, i.client.CloseWrite())
	eventually(t, "EOF", func() (ended bool) {
		do(t, i.ref, func(c *reactor.Conn) { ended = noted(&eofs, c) })
		return ended
	})
}

// outOfBand sends an urgent byte.
func (i *idler) outOfBand(t *testing.T) {
	t.Helper()
	raw, err := i.client.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil)
		return true
	}))
	if err == unix.EOPNOTSUPP {
		return // a unix socket of an older kernel
	}
	require.NoError(t, err)
}

// Connections with a timeout of ten minutes wake their loop less than five times a minute between them, however they
// talk, and never once they are gone. TestSoakIdleTimeoutsRarelyWake has thirty times as many.
func TestIdleTimeoutsRarelyWake(t *testing.T) {
	t.Parallel()
	rarelyWakes(t, 500, newSpeakers)
}

// newSpeakers returns how the i-th of many clients says a word and hears it; the next there is none of yet connects.
func newSpeakers(t *testing.T, a net.Addr) (speak func(i int)) {
	t.Helper()
	var clients []halfCloser
	t.Cleanup(func() {
		for _, cl := range clients {
			_ = cl.Close()
		}
	})
	word := []byte("x")
	return func(i int) {
		if i == len(clients) {
			cl, err := dialPlain(a)
			require.NoError(t, err)
			clients = append(clients, cl)
		}
		_, err := clients[i].Write(word)
		require.NoError(t, err)
		_, err = io.ReadFull(clients[i], word)
		require.NoError(t, err)
	}
}

func rarelyWakes(t *testing.T, conns int, speakers func(t *testing.T, a net.Addr) (speak func(i int))) {
	t.Helper()
	const (
		idle    = 10 * time.Minute
		pause   = 7 * time.Minute // of each client, between two words
		minutes = 60
		most    = 5
	)
	ends := 0
	h := &hooks{data: echo, close: func(*reactor.Conn, error) { ends++ }}
	s, clock := transport{"unix", 1}.timedWith(t, shared(h), &reactor.StreamOptions{
		IdleTimeout: idle, FirstByteTimeout: idle, FrameTimeout: idle,
	})
	speakEvery := pause / time.Duration(conns)
	speak := speakers(t, s.Listener.Addr())
	for i := range conns {
		speak(i)
		clock.Advance(speakEvery)
	}
	rings := clock.Rings()
	for spoken := 0; time.Duration(spoken)*speakEvery < minutes*time.Minute; spoken++ {
		speak(spoken % conns)
		clock.Advance(speakEvery)
	}
	require.Less(t, clock.Rings()-rings, minutes*most)
	require.Zero(t, ends)

	rings = clock.Rings()
	clock.Advance(idle + lateness(idle))
	require.Equal(t, conns, ends)
	require.Less(t, clock.Rings()-rings, 11*most)
	rings = clock.Rings()
	clock.Advance(1000 * time.Hour)
	require.Equal(t, rings, clock.Rings(), "a reactor without connections")
}

// Reading the clock is for ticks, not for messages.
func TestMessagesAskNoClock(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		frames := codec.Fixed(4)
		h := reactor.Frames(frames, reactor.FrameFunc(func(c *reactor.Conn, p []byte) error {
			_, err := c.Write(p)
			return err
		}))
		s, w, clock := tr.timed(t, h, &reactor.StreamOptions{IdleTimeout: time.Minute, FirstByteTimeout: time.Minute, FrameTimeout: time.Minute})
		cl := s.dial()
		receive(t, w.refs)
		clock.Settle()
		before := clock.Asked()
		for range 1000 {
			cl.send("framefr")
			cl.expect("frame"[:4])
			cl.send("a")
			cl.expect("efra")
		}
		require.Less(t, clock.Asked()-before, 20)
	})
}

// Timeouts that are due together share a wake-up.
func TestIdleTimeoutsShareWakeups(t *testing.T) {
	t.Parallel()
	const clients, idle = 300, 2 * time.Second
	s, w, clock := transport{"tcp", 1}.timed(t, &hooks{}, &reactor.StreamOptions{IdleTimeout: idle})
	for range clients {
		s.dial()
		receive(t, w.refs)
		clock.Advance(time.Millisecond)
	}
	rings := clock.Rings()
	clock.Advance(idle + lateness(idle))
	require.Len(t, w.ends, clients)
	require.Less(t, clock.Rings()-rings, 40)
}
