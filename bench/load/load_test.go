// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package load_test

import (
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/bench/load"
)

// serve accepts on a network and has each connection handled in a goroutine.
func serve(t *testing.T, network string, handle func(net.Conn)) load.Endpoint {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	lis, err := net.Listen(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { lis.Close() })
	go func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return load.Endpoint{Network: network, Address: lis.Addr().String()}
}

// echo sends back what it reads after change has had its way with it; nil ends the connection.
func echo(change func([]byte) []byte) func(net.Conn) {
	return func(c net.Conn) {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			p := change(buf[:n])
			if p == nil {
				return
			}
			if _, err := c.Write(p); err != nil {
				return
			}
		}
	}
}

func honest(p []byte) []byte { return p }

func tape(t *testing.T, size int, framed bool) *load.Tape {
	t.Helper()
	tape, err := load.NewTape(size, 64*size, framed, 1)
	require.NoError(t, err)
	return tape
}

// run has streams go through windows until what is to be seen has been seen: how much fits into one is up to the machine.
func run(t *testing.T, c load.StreamConfig, seen func(*load.Result) bool) *load.Result {
	t.Helper()
	s, err := load.DialStreams(c)
	require.NoError(t, err)
	defer s.Close()
	return repeat(seen, s.Run)
}

func repeat(seen func(*load.Result) bool, run func(*load.Window) *load.Result) *load.Result {
	all := run(short())
	for !seen(all) {
		all.Add(run(short()))
	}
	return all
}

// flows says that messages were answered in both stretches of a window; a failure will not get better.
func flows(r *load.Result) bool {
	return r.Messages > 0 && r.Counted > 0 || r.Errors+r.Mismatches > 0
}

func fails(r *load.Result) bool { return r.Errors+r.Mismatches > 0 }

// short is a window with a counting stretch.
func short() *load.Window {
	return &load.Window{Warmup: 10 * time.Millisecond, Duration: 60 * time.Millisecond, Count: 20 * time.Millisecond}
}

// pollers runs a test with each poller.
func pollers(t *testing.T, f func(t *testing.T)) {
	t.Run("default", f)
	t.Run("poll", func(t *testing.T) {
		defer load.UsePoll()()
		f(t)
	})
}

func TestStreams(t *testing.T) {
	pollers(t, func(t *testing.T) {
		for _, network := range []string{"tcp", "unix"} {
			at := serve(t, network, echo(honest))
			for name, c := range map[string]load.StreamConfig{
				"closed":  {Conns: 20, Depth: 1, Threads: 1},
				"deep":    {Conns: 5, Depth: 16, Threads: 1},
				"threads": {Conns: 20, Depth: 2, Threads: 3},
				"open":    {Conns: 20, Rate: 2000, Threads: 2},
				"active":  {Conns: 20, Active: 3, Depth: 1, Threads: 2},
			} {
				c.Endpoint, c.Tape = at, tape(t, 100, false)
				r := run(t, c, flows)
				assert.Zero(t, r.Errors+r.Mismatches, "%s: %v", name, r.Failures)
				assert.Positive(t, r.Messages, name)
				assert.Positive(t, r.Counted, name)
				assert.Positive(t, r.Seconds, name)
				assert.GreaterOrEqual(t, r.Latency.TotalCount(), r.Messages, name)
				assert.True(t, r.Busy >= 0 && r.Busy <= 1, name)
				assert.Equal(t, name == "open", r.Late.TotalCount() > 0, name)
			}
		}
	})
}

func TestLargeMessagesGoThroughSmallBuffers(t *testing.T) {
	pollers(t, func(t *testing.T) {
		r := run(t, load.StreamConfig{Endpoint: serve(t, "tcp", echo(honest)), Conns: 2, Depth: 2, Tape: tape(t, 3<<20, false), Threads: 1}, flows)
		assert.Zero(t, r.Errors+r.Mismatches, r.Failures)
		assert.Positive(t, r.Counted)
	})
}

func TestExchangeReachesEveryConnection(t *testing.T) {
	var served atomic.Int64
	at := serve(t, "tcp", echo(func(p []byte) []byte { served.Add(1); return p }))
	s, err := load.DialStreams(load.StreamConfig{Endpoint: at, Conns: 30, Depth: 1, Tape: tape(t, 64, false), Threads: 2})
	require.NoError(t, err)
	defer s.Close()
	r := s.Exchange()
	assert.EqualValues(t, 30, r.Messages)
	assert.EqualValues(t, 30, served.Load())
	assert.Zero(t, s.Run(short()).Errors, "it goes on from there")
}

// A server that is wrong once is found out, however it is wrong.
func TestLiesAreNoticed(t *testing.T) {
	once := func(lie func([]byte) []byte) func([]byte) []byte {
		var n atomic.Int64
		return func(p []byte) []byte {
			if n.Add(1) == 20 {
				return lie(p)
			}
			return p
		}
	}
	for name, lie := range map[string]func([]byte) []byte{
		"a bit":         func(p []byte) []byte { p[len(p)-1] ^= 0x80; return p },
		"another reply": func(p []byte) []byte { return append([]byte(nil), make([]byte, len(p))...) },
		"a byte more":   func(p []byte) []byte { return append(p, 'x') },
	} {
		r := run(t, load.StreamConfig{Endpoint: serve(t, "tcp", echo(once(lie))), Conns: 4, Depth: 1, Tape: tape(t, 64, false), Threads: 1}, fails)
		assert.Positive(t, r.Mismatches, name)
		assert.NotEmpty(t, r.Failures, name)
	}
	r := run(t, load.StreamConfig{
		Endpoint: serve(t, "tcp", echo(once(func([]byte) []byte { return nil }))), Conns: 4, Depth: 3, Tape: tape(t, 64, false), Threads: 1,
	}, fails)
	assert.EqualValues(t, 3, r.Errors, "what the closed connection owed")
	assert.Zero(t, r.Mismatches)
}

// Connections whose answers are exchanged both get what the other asked for.
func TestAnswersOfAnotherConnectionAreWrong(t *testing.T) {
	defer load.SetPatience(100 * time.Millisecond)() // an answer can come before its request, and the other then never
	first, second := make(chan net.Conn, 1), make(chan net.Conn, 1)
	var n atomic.Int64
	at := serve(t, "tcp", func(c net.Conn) {
		mine, other := first, second
		if n.Add(1) == 2 {
			mine, other = second, first
		}
		mine <- c
		to := <-other
		_, _ = io.Copy(to, c)
	})
	r := run(t, load.StreamConfig{Endpoint: at, Conns: 2, Depth: 1, Tape: tape(t, 16, false), Threads: 1}, fails)
	assert.Positive(t, r.Mismatches)
}

// An open loop's requests that were due while the server did nothing have waited, every one of them. A closed loop would
// have noticed one slow answer.
func TestOpenLoopCountsFromTheSchedule(t *testing.T) {
	const size, held = 64, 60
	at := serve(t, "tcp", func(c net.Conn) {
		first := make([]byte, held*size)
		if _, err := io.ReadFull(c, first); err != nil {
			return
		}
		if _, err := c.Write(first); err == nil {
			echo(honest)(c)
		}
	})
	s, err := load.DialStreams(load.StreamConfig{Endpoint: at, Conns: 1, Rate: 1000, Tape: tape(t, size, false), Threads: 1})
	require.NoError(t, err)
	defer s.Close()
	r := s.Run(&load.Window{Duration: time.Second})
	slow := int64(0)
	for _, b := range r.Latency.Distribution() {
		if b.From >= int64(20*time.Millisecond) {
			slow += b.Count
		}
	}
	assert.GreaterOrEqual(t, slow, int64(30)) // the last of those held was due 59 ms after the first
	assert.Zero(t, r.Errors+r.Mismatches)
}

// A window that is stopped is over, long before its time, for every thread and in every stretch.
func TestAStoppedWindowIsOver(t *testing.T) {
	at := serve(t, "tcp", echo(honest))
	silent := serve(t, "tcp", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for name, c := range map[string]struct {
		at     load.Endpoint
		window func(stop func()) *load.Window
	}{
		"warming":   {at, func(stop func()) *load.Window { stop(); return &load.Window{Warmup: time.Hour} }},
		"measuring": {at, func(stop func()) *load.Window { return &load.Window{Duration: time.Hour, Begin: stop} }},
		"settling":  {silent, func(stop func()) *load.Window { return &load.Window{End: stop} }},
		"counting":  {at, func(stop func()) *load.Window { return &load.Window{Count: time.Hour, CountBegin: stop} }},
	} {
		s, err := load.DialStreams(load.StreamConfig{Endpoint: c.at, Conns: 6, Depth: 1, Tape: tape(t, 64, false), Threads: 3})
		require.NoError(t, err)
		stopped := make(chan struct{})
		w := c.window(func() { close(stopped) })
		w.Stop = stopped
		begin := time.Now()
		s.Run(w)
		assert.Less(t, time.Since(begin), load.Patience, name)
		s.Close()
	}
}

func TestDatagrams(t *testing.T) {
	pollers(t, func(t *testing.T) {
		// An open loop goes on while the server does nothing: few enough for its buffer to hold what comes in a second.
		for name, rate := range map[string]float64{"closed": 0, "open": 200} {
			d, err := load.DialDatagrams(load.DatagramConfig{
				Endpoint: datagrams(t, honest), Sockets: 4, Depth: 3, Rate: rate, Tape: tape(t, 100, false), Threads: 2,
			})
			require.NoError(t, err)
			r := repeat(flows, d.Run)
			d.Close()
			assert.Zero(t, r.Errors+r.Mismatches, "%s: %v", name, r.Failures)
			assert.Positive(t, r.Messages, name)
			assert.Positive(t, r.Counted, name)
		}
	})
}

func TestLostAndWrongDatagramsAreNoticed(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"lost":  func([]byte) []byte { return nil },
		"wrong": func(p []byte) []byte { p[0] ^= 1; return p },
	} {
		var n atomic.Int64
		at := datagrams(t, func(p []byte) []byte {
			if n.Add(1) == 10 {
				return change(p)
			}
			return p
		})
		d, err := load.DialDatagrams(load.DatagramConfig{Endpoint: at, Sockets: 2, Depth: 2, Tape: tape(t, 64, false), Threads: 1})
		require.NoError(t, err)
		r := repeat(fails, d.Run)
		d.Close()
		assert.Equal(t, name == "lost", r.Errors == 1, "%s: %v", name, r.Failures)
		assert.Equal(t, name == "wrong", r.Mismatches == 1, "%s: %v", name, r.Failures)
	}
}

func datagrams(t *testing.T, change func([]byte) []byte) load.Endpoint {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if p := change(buf[:n]); p != nil {
				_, _ = pc.WriteTo(p, from)
			}
		}
	}()
	return load.Endpoint{Network: "udp", Address: pc.LocalAddr().String()}
}

func TestChurn(t *testing.T) {
	pollers(t, func(t *testing.T) {
		var conns atomic.Int64
		at := serve(t, "tcp", func(c net.Conn) { conns.Add(1); echo(honest)(c) })
		r := repeat(flows, func(w *load.Window) *load.Result {
			r, err := load.Churn(load.ChurnConfig{Endpoint: at, Conns: 8, Tape: tape(t, 64, false), Threads: 2}, w)
			require.NoError(t, err)
			return r
		})
		assert.Zero(t, r.Errors+r.Mismatches, r.Failures)
		assert.Positive(t, r.Messages)
		assert.GreaterOrEqual(t, conns.Load(), r.Messages, "a connection each")
	})
	r, err := load.Churn(load.ChurnConfig{
		Endpoint: serve(t, "tcp", echo(func(p []byte) []byte { p[0]++; return p })), Conns: 2, Tape: tape(t, 64, false), Threads: 1,
	}, short())
	require.NoError(t, err)
	assert.Positive(t, r.Mismatches)
	assert.Zero(t, r.Messages)
}

// A window ends in time though nobody listens, who would make connections break as fast as they are made.
func TestChurnWithoutAServer(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		at := load.Endpoint{Network: network, Address: filepath.Join(t.TempDir(), "s")}
		if network == "tcp" { // the client's end of a connection: a port that nobody else is given, and nobody listens
			held, err := net.Dial(network, serve(t, network, echo(honest)).Address)
			require.NoError(t, err)
			defer held.Close()
			at.Address = held.LocalAddr().String()
		}
		r, err := load.Churn(load.ChurnConfig{Endpoint: at, Conns: 4, Tape: tape(t, 64, false), Threads: 2}, short())
		require.NoError(t, err)
		assert.Positive(t, r.Errors)
		assert.Zero(t, r.Messages)
	}
}

// hub sends each frame of a connection to all, after change.
func hub(t *testing.T, change func([]byte) []byte) load.Endpoint {
	type member struct{ net.Conn }
	join := make(chan member)
	frames := make(chan []byte)
	go func() {
		var all []member
		for {
			select {
			case m, ok := <-join:
				if !ok {
					return
				}
				all = append(all, m)
			case f := <-frames:
				for _, m := range all {
					_, _ = m.Write(f)
				}
			}
		}
	}()
	return serve(t, "tcp", func(c net.Conn) {
		join <- member{c}
		for {
			head := make([]byte, load.FramePrefix)
			if _, err := io.ReadFull(c, head); err != nil {
				return
			}
			f := append(head, make([]byte, binary.BigEndian.Uint32(head))...)
			if _, err := io.ReadFull(c, f[load.FramePrefix:]); err != nil {
				return
			}
			frames <- change(f)
		}
	})
}

func TestBroadcast(t *testing.T) {
	pollers(t, func(t *testing.T) {
		b, err := load.DialBroadcast(load.BroadcastConfig{Endpoint: hub(t, honest), Conns: 7, Depth: 3, Tape: tape(t, 64, true)})
		require.NoError(t, err)
		defer b.Close()
		r := repeat(flows, b.Run)
		assert.Zero(t, r.Errors+r.Mismatches, r.Failures)
		assert.Positive(t, r.Messages)
		assert.Zero(t, r.Counted%7, "every message of the stretch went to all")
	})
	var n atomic.Int64
	b, err := load.DialBroadcast(load.BroadcastConfig{Endpoint: hub(t, func(p []byte) []byte {
		if n.Add(1) == 50 {
			p[10] ^= 1
		}
		return p
	}), Conns: 3, Depth: 1, Tape: tape(t, 64, true)})
	require.NoError(t, err)
	defer b.Close()
	assert.EqualValues(t, 3, repeat(fails, b.Run).Mismatches, "one for each who got it")
}

func TestNobodyThere(t *testing.T) {
	_, err := load.DialStreams(load.StreamConfig{
		Endpoint: load.Endpoint{Network: "tcp", Address: "127.0.0.1:1"}, Conns: 1, Depth: 1, Tape: tape(t, 64, false), Threads: 1,
	})
	assert.ErrorContains(t, err, "connection 1 of 1 to tcp://127.0.0.1:1")
}

func TestTapeIsFramed(t *testing.T) {
	tape := tape(t, 20, true)
	seen := make(map[string]bool)
	for k := range 100 {
		m := string(tape.Message(k))
		assert.True(t, strings.HasPrefix(m, "\x00\x00\x00\x10"))
		assert.False(t, seen[m], "messages differ")
		seen[m] = true
	}
	_, err := load.NewTape(3, 3, true, 1)
	assert.ErrorContains(t, err, "too small")
}

func TestPercentilesNeedMessages(t *testing.T) {
	r := run(t, load.StreamConfig{Endpoint: serve(t, "tcp", echo(honest)), Conns: 1, Rate: 500, Tape: tape(t, 64, false), Threads: 1}, flows)
	l := r.Percentiles()
	require.NotNil(t, l.P50)
	assert.NotNil(t, l.Max)
	assert.Nil(t, l.P999, "of some 30 messages")
	assert.LessOrEqual(t, *l.P50, *l.Max)
	s := r.Spectrum()
	assert.Equal(t, 0.0, s[0].Percent)
	assert.Positive(t, s[0].NS, "no answer comes before its request")
	assert.Equal(t, 100.0, s[len(s)-1].Percent)
}
