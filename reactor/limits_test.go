// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux

package reactor_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// On Linux all of 127.0.0.0/8 is this machine: clients can be many peers.

// dialFrom connects from an address of 127.0.0.0/8. The connection closes with the test.
func (s *server) dialFrom(host string) (client, error) {
	s.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}, Timeout: patience}
	conn, err := d.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		return client{}, err
	}
	require.NoError(s.t, conn.SetDeadline(time.Now().Add(patience)))
	s.t.Cleanup(func() { _ = conn.Close() })
	return client{halfCloser: conn.(halfCloser), t: s.t}, nil
}

// servedFrom says whether a connection from the address is served; if not, it was reset.
func (s *server) servedFrom(host string) (client, bool) {
	s.t.Helper()
	cl, err := s.dialFrom(host)
	if err == nil {
		if _, err = cl.Write([]byte("x")); err == nil {
			_, err = io.ReadFull(cl, make([]byte, 1))
		}
	}
	if err == nil {
		return cl, true
	}
	require.Truef(s.t, isGone(err), "%v", err)
	return cl, false
}

// A peer has MaxPerPeer connections and no more: what it opens beyond is reset, counted and told, though not each.
// Others do not notice; and when one of its own has ended, it may have another.
func TestMaxPerPeer(t *testing.T) {
	t.Parallel()
	for _, o := range []reactor.StreamOptions{{MaxPerPeer: 3}, {MaxPerPeer: 3, ReusePort: true}} {
		for _, loops := range []int{1, 3} {
			w := watch(t, reactor.DataFunc(echo))
			s := transport{"tcp", loops}.serve(t, w.accept, &o)
			var clients []client
			for range 3 {
				cl, served := s.servedFrom("127.0.0.1")
				require.True(t, served)
				clients = append(clients, cl)
			}
			for range 4 {
				_, served := s.servedFrom("127.0.0.1")
				require.False(t, served)
			}
			require.EqualValues(t, 4, s.Listener.Stats().PeerLimited)
			require.Len(t, w.refs, 3, "the accept func was called for who was refused")
			_, served := s.servedFrom("127.0.0.2")
			require.True(t, served)
			require.Equal(t, 2, s.Listener.Peers())
			require.Contains(t, s.Log.String(), "peer=127.0.0.1")
			require.Contains(t, s.Log.String(), reactor.ErrPeerLimit.Error())
			require.Less(t, strings.Count(s.Log.String(), "refusing"), 4, s.Log.String())

			require.NoError(t, clients[0].CloseWrite())
			require.Equal(t, io.EOF, receive(t, w.ends))
			eventually(t, "there is a place again", func() bool {
				_, served := s.servedFrom("127.0.0.1")
				return served
			})
		}
	}
}

// However a connection ends, its place is given back: refused by the accept func, closed, reset, hijacked or lingering.
func TestMaxPerPeerGivesPlacesBack(t *testing.T) {
	t.Parallel()
	ends := map[string]func(c *reactor.Conn){
		"Close":  func(c *reactor.Conn) { _ = c.Close() }, // lingers, for the client does not end
		"Abort":  (*reactor.Conn).Abort,
		"panic":  func(*reactor.Conn) { panic("told to") },
		"Hijack": func(c *reactor.Conn) { _ = hijack(c).Close() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			w := watch(t, &hooks{})
			s := transport{"tcp", 2}.serve(t, w.accept, &reactor.StreamOptions{MaxPerPeer: 1})
			for range 5 {
				cl := s.dial()
				ref := receive(t, w.refs)
				require.Equal(t, 1, s.Listener.Peers())
				require.NoError(t, ref.Do(func(c *reactor.Conn, _ error) { end(c) }))
				cl.expectGone()
				receive(t, w.ends)
				eventually(t, "the place is given back", func() bool { return s.Listener.Peers() == 0 })
			}
			require.Zero(t, s.Listener.Stats().PeerLimited+s.Listener.Stats().RateLimited)
		})
	}
	t.Run("refused", func(t *testing.T) {
		s := transport{"tcp", 2}.serve(t, func(*reactor.Conn) (reactor.Handler, error) { return nil, errors.New("no") }, &reactor.StreamOptions{MaxPerPeer: 1})
		for range 5 {
			s.dial().expectGone()
			eventually(t, "the place is given back", func() bool { return s.Listener.Peers() == 0 })
		}
		require.Zero(t, s.Listener.Stats().PeerLimited+s.Listener.Stats().RateLimited)
	})
}

// The limit holds at every moment, however many come at once from however many peers; and the table has the peers that
// are connected, no others.
func TestMaxPerPeerUnderLoad(t *testing.T) {
	t.Parallel()
	const perPeer, clients = 2, 200
	var mu sync.Mutex
	open, most := map[netip.Addr]int{}, 0
	note := func(c *reactor.Conn, n int) {
		mu.Lock()
		defer mu.Unlock()
		peer := c.Tuple().Remote.Addr()
		open[peer] += n
		most = max(most, open[peer])
	}
	h := &hooks{data: echo, close: func(c *reactor.Conn, _ error) { note(c, -1) }}
	s := transport{"tcp", 3}.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
		note(c, 1)
		return h, nil
	}, &reactor.StreamOptions{MaxPerPeer: perPeer, ReusePort: true})
	var all sync.WaitGroup
	var served atomic.Int64
	for i := range clients {
		all.Go(func() {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i%20))}, Timeout: patience}
			conn, err := d.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = conn.Write([]byte("x"))
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				served.Add(1)
			}
		})
	}
	all.Wait()
	mu.Lock()
	require.LessOrEqual(t, most, perPeer)
	mu.Unlock()
	require.GreaterOrEqual(t, served.Load(), int64(20))
	require.LessOrEqual(t, s.Listener.Stats().PeerLimited, uint64(clients-20))
	eventually(t, "the table is empty", func() bool { return s.Listener.Peers() == 0 })
}

// What counts as one peer.
func TestPeers(t *testing.T) {
	for address, peer := range map[string]string{
		"192.0.2.1":               "192.0.2.1",
		"169.254.1.2":             "169.254.1.2",
		"2001:db8:1:2:3:4:5:6":    "2001:db8:1:2::",
		"2001:db8:1:2:ffff::":     "2001:db8:1:2::",
		"::1":                     "::",
		"fe80::1:2:3:4%2":         "fe80::1:2:3:4%2",
		"fe80:0:0:0:1:2:3:5%eth0": "fe80::1:2:3:5%eth0",
	} {
		require.Equal(t, netip.MustParseAddr(peer), reactor.PeerOf(netip.MustParseAddr(address)), address)
	}
}

// AcceptRate is never exceeded, and all who come are served in the end: the backlog holds them.
func TestAcceptRate(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		t.Parallel()
		const rate, burst, clients = 25, 3, 8
		var mu sync.Mutex
		var times []time.Time
		h := reactor.DataFunc(echo)
		var began time.Time
		var lis *reactor.Listener
		var dialed []client
		s := start(t, reactor.Options{Loops: tr.loops}, func(r *reactor.Reactor) { // all wait before it begins
			var err error
			lis, err = r.Listen(tr.network, tr.address(t), func(*reactor.Conn) (reactor.Handler, error) {
				mu.Lock()
				defer mu.Unlock()
				times = append(times, time.Now())
				return h, nil
			}, &reactor.StreamOptions{AcceptRate: rate, AcceptBurst: burst})
			require.NoError(t, err)
			for range clients {
				dialed = append(dialed, dialTo(t, lis.Addr()))
			}
			began = time.Now()
		})
		for _, cl := range dialed {
			cl.send("x")
			cl.expect("x")
		}
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, times, clients)
		for i, at := range times[burst:] {
			require.GreaterOrEqual(t, at.Sub(began), time.Duration(i+1)*time.Second/rate, "connection %d", burst+i)
		}
		stats := lis.Stats()
		require.Positive(t, stats.RateLimited)
		require.Zero(t, stats.PeerLimited)
		require.Contains(t, s.Log.String(), reactor.ErrAcceptRate.Error())
		require.Less(t, strings.Count(s.Log.String(), reactor.ErrAcceptRate.Error()), clients-burst, s.Log.String())
	})
}

// Who keeps to the rate is not held up, nor counted.
func TestWithinAcceptRate(t *testing.T) {
	t.Parallel()
	s := transport{"tcp", 1}.serve(t, shared(reactor.DataFunc(echo)), &reactor.StreamOptions{AcceptRate: 1, AcceptBurst: 5})
	for range 5 {
		cl := s.dial()
		cl.send("x")
		cl.expect("x")
	}
	require.Zero(t, s.Listener.Stats().PeerLimited+s.Listener.Stats().RateLimited)
}

// Connections over MaxPerPeer take nothing of the rate: who floods cannot use up what is for others.
func TestPeerLimitTakesNoTokens(t *testing.T) {
	t.Parallel()
	s := transport{"tcp", 1}.serve(t, shared(reactor.DataFunc(echo)), &reactor.StreamOptions{MaxPerPeer: 1, AcceptRate: 1, AcceptBurst: 2})
	_, served := s.servedFrom("127.0.0.1")
	require.True(t, served)
	for range 30 {
		_, served = s.servedFrom("127.0.0.1")
		require.False(t, served)
	}
	_, served = s.servedFrom("127.0.0.2")
	require.True(t, served)
	require.EqualValues(t, 30, s.Listener.Stats().PeerLimited)
	require.Zero(t, s.Listener.Stats().RateLimited)
}

// A loop that waits for a token sleeps, also when connections end meanwhile.
func TestAcceptRateDoesNotSpin(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		t.Parallel()
		r, err := reactor.New(reactor.Options{Loops: 1, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		events := reactor.CountEvents(r)
		s := &server{t: t, Reactor: r, served: make(chan error, 1)}
		w := watch(t, reactor.DataFunc(echo))
		s.Listener = s.listen(tr.network, tr.address(t), w.accept, &reactor.StreamOptions{AcceptRate: 1})
		go func() { s.served <- r.Serve(context.Background()) }()
		t.Cleanup(func() {
			_ = r.Close()
			<-s.served
		})
		for range 10 {
			s.dial()
		}
		receive(t, w.refs)
		eventually(t, "the rate is reached", func() bool { return s.Listener.Stats().RateLimited > 0 })
		before := events()
		time.Sleep(time.Second) // the window
		require.LessOrEqual(t, events()-before, int64(maxWakeups))
	})
}

// Shutdown serves who waits for a token, at the rate.
func TestShutdownWhileRateLimited(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, shared(reactor.DataFunc(echo)), &reactor.StreamOptions{AcceptRate: 20, AcceptBurst: 1})
		var clients []client
		for range 6 {
			cl := s.dial()
			cl.send("x")
			clients = append(clients, cl)
		}
		down := s.shutdown()
		for _, cl := range clients {
			require.Equal(t, "x", cl.rest())
			require.NoError(t, cl.Close())
		}
		require.NoError(t, receive(t, down))
	})
}

// Closing a listener that waits for a token is held up by nothing, nor is Shutdown when its patience ends. Who waits is
// reset.
func TestEndWhileRateLimited(t *testing.T) {
	t.Parallel()
	ends := map[string]func(s *server) error{
		"Listener.Close": func(s *server) error { return s.Listener.Close() },
		"Shutdown":       func(s *server) error { return s.Shutdown(canceled()) },
		"Close":          func(s *server) error { return s.Close() },
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for name, end := range ends {
			s := tr.serve(t, shared(reactor.DataFunc(echo)), &reactor.StreamOptions{AcceptRate: 1})
			first := s.dial()
			require.NoError(t, first.CloseWrite())
			first.expectEOF()
			var waiting client
			for range 9 {
				waiting = s.dial()
			}
			eventually(t, "the rate is reached", func() bool { return s.Listener.Stats().RateLimited > 0 })
			require.NoError(t, end(s), name)
			waiting.expectReset()
		}
	})
}
