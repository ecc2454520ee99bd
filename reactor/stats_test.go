// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// totals returns the sum over all loops once it is as the test wants it.
func (s *server) totals(what string, holds func(n reactor.Counters, closes reactor.CloseCounts) bool) reactor.Counters {
	s.t.Helper()
	var n reactor.Counters
	eventually(s.t, what, func() bool {
		st := s.Stats()
		var closes reactor.CloseCounts
		n, closes, _ = st.Total()
		return holds(n, closes)
	})
	return n
}

func closed(reason reactor.CloseReason, times uint64) func(reactor.Counters, reactor.CloseCounts) bool {
	return func(_ reactor.Counters, closes reactor.CloseCounts) bool { return closes[reason] == times }
}

// What goes through connections is counted, by loop and by listener, and remains after Shutdown.
func TestStatsCountTraffic(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, shared(reactor.DataFunc(echo)), nil)
		const conns = 5
		sent := uint64(0)
		for range conns {
			cl := s.dial()
			for _, size := range []int{1, 100, 5000} {
				cl.send(string(pattern(size)))
				cl.read(size)
				sent += uint64(size)
			}
			require.NoError(t, cl.CloseWrite())
			cl.expectEOF()
		}
		n := s.totals("all closed by their peers", closed(reactor.ClosePeer, conns))
		require.Equal(t, sent, n.BytesReceived)
		require.Equal(t, sent, n.BytesSent)
		require.EqualValues(t, conns, n.Accepts)
		require.EqualValues(t, conns, n.Opens)
		require.EqualValues(t, conns, n.Ends)
		require.GreaterOrEqual(t, n.Reads, uint64(conns*(3+1)), "three messages and an end each")
		require.GreaterOrEqual(t, n.Reads, n.ShortReads+n.ReadAgains)
		require.GreaterOrEqual(t, n.Writes, uint64(conns*3))
		require.GreaterOrEqual(t, n.Events, n.Turns+n.ShortReads)
		require.Zero(t, n.Refusals+n.TooLate+n.BytesUnsent+n.Panics+n.SlowHandlers+n.ReadPauses())

		st := s.Stats()
		require.Len(t, st.Loops, tr.loops)
		for i, l := range st.Loops {
			require.Equal(t, i, l.Loop)
			require.False(t, l.Stale)
			require.Zero(t, l.Conns)
			require.Zero(t, l.Unsent)
			require.Nil(t, l.EventTime)
			require.Nil(t, l.TaskLag)
		}
		require.Len(t, st.Listeners, 1)
		require.Equal(t, s.Listener.Addr().String(), st.Listeners[0].Address)
		require.Equal(t, tr.network, st.Listeners[0].Network)
		require.EqualValues(t, conns, st.Listeners[0].Accepts)

		require.NoError(t, s.Shutdown(context.Background()))
		st = s.Stats()
		final, _, _ := st.Total()
		require.Equal(t, sent, final.BytesReceived)
		require.EqualValues(t, conns, st.Listeners[0].Accepts)
		for _, l := range st.Loops {
			require.False(t, l.Stale)
		}
	})
}

// A reactor that does not serve yet has its zeros, and its listeners.
func TestStatsBeforeServe(t *testing.T) {
	r, err := reactor.New(reactor.Options{Loops: 2})
	require.NoError(t, err)
	_, err = r.Listen("tcp", "127.0.0.1:0", shared(reactor.DataFunc(echo)), nil)
	require.NoError(t, err)
	st := r.Stats()
	require.Len(t, st.Loops, 2)
	require.Len(t, st.Listeners, 1)
	require.NoError(t, r.Close())
	require.Zero(t, r.Stats().Listeners[0].Accepts)
}

// Each way to end has its reason.
func TestStatsCloseReasons(t *testing.T) {
	ends := []struct {
		reason reactor.CloseReason
		data   func(c *reactor.Conn, in []byte) (int, error)
		opts   *reactor.StreamOptions
		peer   func(cl client)
	}{
		{reactor.CloseLocal, func(c *reactor.Conn, in []byte) (int, error) { return len(in), c.Close() }, nil, nil},
		{reactor.ClosePeer, func(_ *reactor.Conn, in []byte) (int, error) { return len(in), nil }, nil, func(cl client) { _ = cl.CloseWrite() }},
		{reactor.CloseTruncated, func(*reactor.Conn, []byte) (int, error) { return 0, nil }, nil, func(cl client) { _ = cl.CloseWrite() }},
		{reactor.CloseReset, nil, nil, client.reset},
		{reactor.CloseIdleTimeout, nil, &reactor.StreamOptions{IdleTimeout: 20 * time.Millisecond}, nil},
		{reactor.CloseInputLimit, func(*reactor.Conn, []byte) (int, error) { return 0, nil }, &reactor.StreamOptions{MaxInput: 1}, nil},
		{reactor.CloseFrame, func(*reactor.Conn, []byte) (int, error) { return 0, &codec.TooLongError{Length: 2, Max: 1} }, nil, nil},
		{reactor.CloseAborted, func(c *reactor.Conn, in []byte) (int, error) { c.Abort(); return len(in), nil }, nil, nil},
		{reactor.ClosePanic, func(*reactor.Conn, []byte) (int, error) { panic("for the sake of it") }, nil, nil},
		{reactor.CloseHandler, func(_ *reactor.Conn, in []byte) (int, error) { return len(in), errors.New("enough") }, nil, nil},
	}
	for _, end := range ends {
		t.Run(end.reason.String(), func(t *testing.T) {
			s := transport{"tcp", 1}.serve(t, shared(&hooks{data: end.data}), end.opts)
			cl := s.dial()
			cl.send("hello")
			if end.peer != nil {
				s.totals("the greeting has come", func(n reactor.Counters, _ reactor.CloseCounts) bool { return n.BytesReceived == 5 })
				end.peer(cl)
			}
			s.totals("it has ended", closed(end.reason, 1))
			st := s.Stats()
			_, closes, _ := st.Total()
			closes[end.reason] = 0
			require.Zero(t, closes)
		})
	}
	t.Run(reactor.CloseShutdown.String(), func(t *testing.T) {
		s := transport{"tcp", 1}.serve(t, shared(&hooks{}), nil)
		s.dial()
		s.totals("the connection is there", func(n reactor.Counters, _ reactor.CloseCounts) bool { return n.Opens == 1 })
		require.NoError(t, s.Close())
		st := s.Stats()
		_, closes, _ := st.Total()
		require.EqualValues(t, 1, closes[reactor.CloseShutdown])
	})
}

// Frames are counted by the kind of their decoder, with what was wrong.
func TestStatsFrames(t *testing.T) {
	s := transport{"tcp", 1}.serve(t, shared(reactor.Frames(codec.Line(16), reactor.FrameFunc(func(c *reactor.Conn, p []byte) error {
		_, err := c.Write(p)
		return err
	}))), nil)
	cl := s.dial()
	cl.send("ab\ncd\nef")
	cl.expect("abcd")
	cl.send("gh\n")
	cl.expect("efgh")
	cl.send("half")
	require.NoError(t, cl.CloseWrite())
	cl.expectEOF()
	cl = s.dial()
	cl.send("this line is longer than any may be\n")
	cl.expectEOF()

	s.totals("both have ended", func(_ reactor.Counters, closes reactor.CloseCounts) bool {
		return closes[reactor.CloseTruncated] == 1 && closes[reactor.CloseFrame] == 1
	})
	st := s.Stats()
	_, _, codecs := st.Total()
	require.Len(t, codecs, 1)
	require.GreaterOrEqual(t, codecs[0].Partial, uint64(2))
	codecs[0].Partial = 0
	require.Equal(t, reactor.CodecStats{Codec: "line", Frames: 3, Truncated: 1, TooLong: 1}, codecs[0])
}

// What stops reading is counted, once for each stop.
func TestStatsPauses(t *testing.T) {
	w := watch(t, &hooks{data: func(c *reactor.Conn, in []byte) (int, error) {
		_, err := c.Write(morePattern()[:1<<20]) // far more than narrow sockets hold
		return len(in), err
	}})
	s := transport{"tcp", 1}.serve(t, w.narrowed, nil)
	cl := s.dialNarrow()
	ref := receive(t, w.refs)
	do(t, ref, func(c *reactor.Conn) {
		c.Pause()
		c.Pause()
	})
	n := s.totals("it is paused", func(n reactor.Counters, _ reactor.CloseCounts) bool { return n.Pauses == 1 })
	require.Zero(t, n.HighWater)
	do(t, ref, func(c *reactor.Conn) { c.Resume() })
	cl.send("go")
	n = s.totals("output is above the mark", func(n reactor.Counters, _ reactor.CloseCounts) bool { return n.HighWater == 1 })
	require.NotZero(t, n.ShortWrites+n.WriteAgains)
	require.EqualValues(t, 2, n.ReadPauses())
	require.NotZero(t, s.Stats().Loops[0].Unsent)
	do(t, ref, func(c *reactor.Conn) { c.Abort() })
	n = s.totals("it is over", closed(reactor.CloseAborted, 1))
	require.NotZero(t, n.BytesUnsent)
	require.Zero(t, s.Stats().Loops[0].Unsent)
}

// A listener tells why it did not accept; refusals are counted where the accept func ran.
func TestStatsRefusals(t *testing.T) {
	s := transport{"tcp", 1}.serveWith(t, reactor.Options{MaxConns: 1}, func(c *reactor.Conn) (reactor.Handler, error) {
		if c.ID()>>24 == 1 {
			return nil, errors.New("not you")
		}
		return &hooks{}, nil
	}, nil)
	s.dial().expectGone()
	s.dial()
	s.dial()
	eventually(t, "the third has to wait", func() bool { return s.Stats().Listeners[0].AtMaxConns > 0 })
	n := s.totals("one was refused", func(n reactor.Counters, _ reactor.CloseCounts) bool { return n.Refusals == 1 })
	require.EqualValues(t, 1, n.Opens)
	require.EqualValues(t, 2, n.Accepts)
}

// A listener of datagrams has those of all its sockets.
func TestStatsDatagrams(t *testing.T) {
	s := start(t, reactor.Options{Loops: 2})
	lis, err := s.ListenPacket("udp", "127.0.0.1:0", reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
		_ = d.Reply(d.Payload)
	}), nil)
	require.NoError(t, err)
	for range 8 {
		conn, err := net.Dial("udp", lis.Addr().String())
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = conn.Write([]byte("ping"))
		require.NoError(t, err)
		_, err = io.ReadAtLeast(conn, make([]byte, 8), 4)
		require.NoError(t, err)
		_ = conn.Close()
	}
	eventually(t, "all are counted", func() bool {
		d := s.Stats().Listeners[0].Datagrams
		return d.Received == 8 && d.Sent == 8
	})
}

// A loop that is held by a handler does not answer: the others do, what is known remains, and asking leaves no pile of
// tasks behind.
func TestStatsOfAStuckLoop(t *testing.T) {
	accept, refs := accepted(reactor.DataFunc(echo))
	s := transport{"tcp", 2}.serve(t, accept, nil)
	cl := s.dial()
	ref := receive(t, refs)
	cl.send("hello")
	cl.expect("hello")
	before := s.totals("it was counted", func(n reactor.Counters, _ reactor.CloseCounts) bool { return n.BytesSent == 5 })
	release := block(t, ref)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			st := s.Stats()
			stale := 0
			for _, l := range st.Loops {
				if l.Stale {
					stale++
				}
			}
			n, _, _ := st.Total()
			if stale != 1 || n.BytesSent != before.BytesSent {
				t.Errorf("%d loops are stale, %d bytes sent", stale, n.BytesSent)
			}
		})
	}
	wg.Wait()
	waiting := 0
	for _, l := range s.Stats().Loops {
		waiting += l.Mailbox
	}
	require.LessOrEqual(t, waiting, 1)
	release()
	eventually(t, "all answer again", func() bool {
		st := s.Stats()
		return !st.Loops[0].Stale && !st.Loops[1].Stale
	})
}

// On a loop Stats has that loop's own at once, and waits for nobody.
func TestStatsOnALoop(t *testing.T) {
	accept, refs := accepted(reactor.DataFunc(echo))
	s := transport{"tcp", 2}.serve(t, accept, nil)
	s.dial()
	ref := receive(t, refs)
	do(t, ref, func(*reactor.Conn) {
		st := s.Stats()
		fresh := 0
		for _, l := range st.Loops {
			if !l.Stale && l.Conns == 1 && l.Opens == 1 {
				fresh++
			}
		}
		require.Equal(t, 1, fresh)
	})
}

// Measure times events and tasks.
func TestMeasure(t *testing.T) {
	accept, refs := accepted(reactor.DataFunc(echo))
	s := transport{"tcp", 1}.serveWith(t, reactor.Options{Measure: true}, accept, nil)
	cl := s.dial()
	ref := receive(t, refs)
	const nap = 20 * time.Millisecond
	do(t, ref, func(*reactor.Conn) { time.Sleep(nap) })
	cl.send("hello")
	cl.expect("hello")
	eventually(t, "what was slow is counted", func() bool { return s.Stats().Loops[0].EventTime.Max >= nap })
	l := s.Stats().Loops[0]
	require.GreaterOrEqual(t, l.EventTime.Sum, nap)
	require.GreaterOrEqual(t, l.Events, l.EventTime.Count())
	require.GreaterOrEqual(t, l.EventTime.Count()+1, l.Events, "all but the one that asked")
	require.NotZero(t, l.TaskLag.Count())
}

// A timer's lag is known without Measure.
func TestTimerLag(t *testing.T) {
	s := transport{"tcp", 1}.serve(t, shared(&hooks{}), &reactor.StreamOptions{IdleTimeout: 10 * time.Millisecond})
	s.dial().expectEOF()
	n := s.totals("it was idle", closed(reactor.CloseIdleTimeout, 1))
	require.NotZero(t, n.TimersRun)
	require.NotZero(t, s.Stats().Loops[0].TimerLag.Count())
}

// The buckets of a histogram and what they tell.
func TestHistogram(t *testing.T) {
	var h reactor.Histogram
	require.Zero(t, h.Quantile(0.5))
	durations := []time.Duration{0, time.Microsecond, time.Microsecond + 1, 2 * time.Microsecond, 3 * time.Microsecond, time.Millisecond, time.Hour}
	for _, d := range durations {
		reactor.AddTo(&h, d)
	}
	require.EqualValues(t, len(durations), h.Count())
	require.Equal(t, time.Hour, h.Max)
	require.Equal(t, []uint64{2, 2, 1}, h.Counts[:3], "the bounds are inclusive")
	require.EqualValues(t, 1, h.Counts[10], "1 ms is below 1024 µs")
	require.EqualValues(t, 1, h.Counts[len(h.Counts)-1])
	require.Equal(t, 2*time.Microsecond, h.Quantile(0.5))
	require.Equal(t, time.Hour, h.Quantile(1))
	require.Equal(t, 4*time.Microsecond, h.Bound(2))
}

// Stats survives a journey as JSON.
func TestStatsJSON(t *testing.T) {
	s := transport{"tcp", 1}.serveWith(t, reactor.Options{Measure: true}, shared(reactor.DataFunc(echo)), nil)
	cl := s.dial()
	cl.send("hello")
	cl.expect("hello")
	want := s.Stats()
	text, err := json.Marshal(want)
	require.NoError(t, err)
	var got reactor.Stats
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, want.Loops[0].Counters, got.Loops[0].Counters)
	require.Equal(t, want.Loops[0].Closes, got.Loops[0].Closes)
	require.Equal(t, want.Loops[0].EventTime, got.Loops[0].EventTime)
	require.Equal(t, want.Listeners, got.Listeners)
}

// slowEnough is far more than what a busy machine makes of a quick handler.
const slowEnough = 100 * time.Millisecond

// A handler that holds its loop is reported while it does, with its stack, and once more when it is over.
func TestSlowHandler(t *testing.T) {
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	s := transport{"tcp", 1}.serveWith(t, reactor.Options{SlowHandler: slowEnough}, shared(&hooks{data: func(_ *reactor.Conn, in []byte) (int, error) {
		aHandlerThatHolds(held)
		return len(in), nil
	}}), nil)
	t.Cleanup(release)
	cl := s.dial()
	cl.send("hello")
	eventually(t, "it is reported", func() bool { return s.Log.hasLine("a handler holds its loop", "aHandlerThatHolds") })
	over := func() bool { return s.Log.hasLine("a handler held its loop", cl.LocalAddr().String()) }
	require.False(t, over())
	release()
	eventually(t, "its end is reported", over)
	s.totals("it is counted", func(n reactor.Counters, _ reactor.CloseCounts) bool { return n.SlowHandlers > 0 })
}

//go:noinline
func aHandlerThatHolds(until <-chan struct{}) { <-until }

// Looking at a stack stops all goroutines, so there are pauses between: a handler that does not outlast one is told of
// when it is over, one that does also while it holds its loop.
func TestSlowHandlersAreNotAllLookedAt(t *testing.T) {
	held := make(chan struct{})
	s := transport{"tcp", 1}.serveWith(t, reactor.Options{SlowHandler: time.Millisecond}, shared(&hooks{data: func(_ *reactor.Conn, in []byte) (int, error) {
		if string(in) == "short" {
			time.Sleep(50 * time.Millisecond) // fifty limits
		} else {
			<-held
		}
		return len(in), nil
	}}), nil, func(r *reactor.Reactor) { reactor.DelayStacks(r, time.Hour) }) // before anything can be slow
	t.Cleanup(func() { close(held) })
	cl := s.dial()
	cl.send("short")
	eventually(t, "its end is reported", func() bool { return s.Log.hasLine("a handler held its loop", cl.LocalAddr().String()) })
	require.NotContains(t, s.Log.String(), "holds its loop")

	cl.send("long")
	reactor.DelayStacks(s.Reactor, 0)
	eventually(t, "it is reported", func() bool { return s.Log.has("a handler holds its loop") })
}

// A handler that ends its goroutine does not count as one that still holds the loop.
func TestSlowHandlerThatExits(t *testing.T) {
	exit := make(chan struct{})
	release := sync.OnceFunc(func() { close(exit) })
	s := transport{"tcp", 1}.serveWith(t, reactor.Options{SlowHandler: slowEnough, Measure: true}, shared(&hooks{data: func(*reactor.Conn, []byte) (int, error) {
		<-exit
		runtime.Goexit()
		return 0, nil
	}}), nil)
	t.Cleanup(release)
	cl := s.dial()
	cl.send("hello")
	eventually(t, "it is reported", func() bool { return s.Log.hasLine("a handler holds its loop", t.Name()) })
	release()
	cl.expectGone()
	eventually(t, "its end is reported", func() bool { return s.Log.hasLine("a handler held its loop", cl.LocalAddr().String()) })
}

// A datagram socket that was adopted is told like a packet listener; one that was refused, not at all.
func TestStatsOfAdoptedSockets(t *testing.T) {
	s := start(t, reactor.Options{Loops: 1})
	adopt := func(h reactor.PacketHandler, err error) *reactor.Listener {
		conn, failed := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, failed)
		lis, failed := s.AdoptPacket(conn, func(*reactor.PacketConn) (reactor.PacketHandler, error) { return h, err }, nil)
		require.NoError(t, failed)
		return lis
	}
	adopt(nil, errors.New("not this one"))
	lis := adopt(reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) { _ = d.Reply(d.Payload) }), nil)
	conn, err := net.Dial("udp", lis.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = conn.Write([]byte("ping"))
	require.NoError(t, err)
	_, err = io.ReadAtLeast(conn, make([]byte, 8), 4)
	require.NoError(t, err)
	st := s.Stats()
	require.Len(t, st.Listeners, 1)
	require.True(t, st.Listeners[0].Packets)
	require.Equal(t, lis.Addr().String(), st.Listeners[0].Address)
	require.EqualValues(t, 1, st.Listeners[0].Datagrams.Received)
	require.NoError(t, lis.Close())
	require.EqualValues(t, 1, lis.Stats().Datagrams.Received)
	require.Empty(t, s.Stats().Listeners)
}
