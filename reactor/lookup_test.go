// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// A connection's tuple is what both ends' sockets say, whatever the listener was bound to; IPv4 is plain IPv4, also
// through a socket that serves both families. It finds the connection.
func TestTuples(t *testing.T) {
	rows := []struct {
		name, network, address string
		dial                   string // the host to connect to
		v6                     bool
	}{
		{"v4", "tcp4", "127.0.0.1:0", "127.0.0.1", false},
		{"v4 wildcard", "tcp4", ":0", "127.0.0.1", false},
		{"v4 wildcard by another address", "tcp4", "0.0.0.0:0", "127.0.0.9", false},
		{"v6", "tcp6", "[::1]:0", "::1", true},
		{"v6 wildcard", "tcp6", ":0", "::1", true},
		{"dual stack, by v4", "tcp", ":0", "127.0.0.1", false},
		{"dual stack, by v6", "tcp", ":0", "::1", true},
		{"dual stack, explicit, by v4", "tcp", "[::]:0", "127.0.0.1", false},
		{"name", "tcp", "localhost:0", "127.0.0.1", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if row.v6 && !hasIPv6() {
				t.Skip("no IPv6 here")
			}
			for _, loops := range []int{1, 3} {
				s := start(t, reactor.Options{Loops: loops})
				accept, refs := accepted(reactor.DataFunc(echo))
				lis := s.listen(row.network, row.address, accept, nil)
				port := lis.Addr().(*net.TCPAddr).AddrPort().Port()
				require.NotZero(t, port)
				for range 5 {
					cl := dialTo(t, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(row.dial), port)))
					ref := receive(t, refs)
					want := reactor.FourTuple{Local: unmapped(cl.RemoteAddr()), Remote: unmapped(cl.LocalAddr())}
					require.Equal(t, want, ref.Tuple())
					require.Equal(t, row.v6, ref.Tuple().Local.Addr().Is6())
					require.Equal(t, row.v6, ref.Tuple().Remote.Addr().Is6())
					require.Equal(t, want.Local.String()+"<-"+want.Remote.String(), ref.Tuple().String())
					requireFound(t, s, ref)
					_, found := s.Lookup(reactor.FourTuple{Local: want.Remote, Remote: want.Local})
					require.False(t, found, "the other way round")
				}
			}
		})
	}
}

// Unix connections have an ID and the zero tuple, by which none is found.
func TestUnixConnectionsHaveIDs(t *testing.T) {
	for _, loops := range []int{1, 3} {
		accept, refs := accepted(&hooks{})
		s := transport{"unix", loops}.serve(t, accept, nil)
		seen := map[uint64]bool{0: true}
		for range 10 {
			s.dial()
			ref := receive(t, refs)
			require.Zero(t, ref.Tuple())
			require.Equal(t, "unix", ref.Tuple().String())
			require.False(t, seen[ref.ID()])
			seen[ref.ID()] = true
			found, ok := s.ByID(ref.ID())
			require.True(t, ok)
			require.True(t, found == ref)
		}
		_, ok := s.Lookup(reactor.FourTuple{})
		require.False(t, ok)
	}
}

// What is not open is not found: IDs never given, connections that closed, also while the client lets them linger.
func TestLookupOfWhatIsGone(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		ends := make(chan error, 1)
		accept, refs := accepted(&hooks{close: func(c *reactor.Conn, err error) {
			ends <- err
		}})
		s := tr.serve(t, accept, nil)
		for _, id := range []uint64{0, 1, 1 << 24, 1<<64 - 1} {
			_, ok := s.ByID(id)
			require.False(t, ok)
		}
		cl := s.dial()
		ref := receive(t, refs)
		requireFound(t, s, ref)
		require.NoError(t, ref.Close())
		require.NoError(t, receive(t, ends))
		requireGone(t, s, ref)
		cl.expectEOF() // and the client still has not closed
		requireGone(t, s, ref)
	})
}

// 2,000 connections open and close at random; at every check exactly the open ones are found.
func TestLookupAgainstAModel(t *testing.T) {
	steps := 2000
	if testing.Short() || raceBuild {
		steps = 600
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		seed := rand.Uint64()
		rnd := rand.New(rand.NewPCG(seed, seed))
		t.Cleanup(func() {
			if t.Failed() {
				t.Log("seed", seed)
			}
		})
		ends := make(chan reactor.Ref, steps)
		accept, refs := accepted(&hooks{close: func(c *reactor.Conn, _ error) { ends <- c.Ref() }})
		s := tr.serve(t, accept, nil)
		type pair struct {
			client halfCloser
			ref    reactor.Ref
		}
		var open, gone []pair
		for step := range steps {
			if len(open) < 200 && (len(open) == 0 || rnd.IntN(5) < 3) {
				cl, err := dialPlain(s.Listener.Addr())
				require.NoError(t, err)
				open = append(open, pair{cl, receive(t, refs)})
			} else {
				i := rnd.IntN(len(open))
				p := open[i]
				open[i] = open[len(open)-1]
				open = open[:len(open)-1]
				if rnd.IntN(2) == 0 {
					require.NoError(t, p.ref.Close())
				} else {
					require.NoError(t, p.client.Close())
				}
				require.True(t, p.ref == receive(t, ends))
				require.NoError(t, errOtherThanClosed(p.client.Close()))
				gone = append(gone, p)
			}
			if step%50 != 0 && step != steps-1 {
				continue
			}
			for _, p := range open {
				requireFound(t, s, p.ref)
			}
			for _, p := range gone {
				_, ok := s.ByID(p.ref.ID())
				require.False(t, ok)
			}
			listed := map[reactor.Ref]int{}
			for ref := range s.Conns() {
				listed[ref]++
			}
			require.Len(t, listed, len(open))
			for _, p := range open {
				require.Equal(t, 1, listed[p.ref])
			}
		}
		for _, p := range open {
			_ = p.client.Close()
		}
	})
}

// Conns may be left early, and what it yields may be used at once.
func TestConnsMayBeLeftEarly(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(&hooks{})
		s := tr.serve(t, accept, nil)
		for range s.Conns() {
			t.Error("there is none")
		}
		var clients []client
		for range 6 {
			clients = append(clients, s.dial())
			receive(t, refs)
		}
		n := 0
		for range s.Conns() {
			if n++; n == 2 {
				break
			}
		}
		require.Equal(t, 2, n)
		for ref := range s.Conns() {
			_, err := ref.Write([]byte("to all"))
			require.NoError(t, err)
		}
		for _, cl := range clients {
			cl.expect("to all")
		}
	})
}

// Looking up works on a loop as well, in the accept func and in Close.
func TestLookupOnTheLoop(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		found := make(chan bool, 10)
		var s *server
		look := func(c *reactor.Conn) {
			_, ok := s.ByID(c.ID())
			found <- ok
		}
		h := &hooks{
			data: func(c *reactor.Conn, in []byte) (int, error) {
				look(c)
				return len(in), c.Close()
			},
			close: func(c *reactor.Conn, _ error) { look(c) },
		}
		s = start(t, reactor.Options{Loops: tr.loops})
		s.Listener = s.listen(tr.network, tr.address(t), func(c *reactor.Conn) (reactor.Handler, error) {
			look(c)
			return h, nil
		}, nil)
		cl := s.dial()
		require.True(t, receive(t, found), "in the accept func")
		cl.send("x")
		require.True(t, receive(t, found), "in Data")
		require.False(t, receive(t, found), "in Close")
	})
}

func requireFound(t *testing.T, s *server, ref reactor.Ref) {
	t.Helper()
	found, ok := s.ByID(ref.ID())
	require.True(t, ok && found == ref, "by ID")
	if ref.Tuple() != (reactor.FourTuple{}) {
		found, ok = s.Lookup(ref.Tuple())
		require.True(t, ok && found == ref, "by tuple")
	}
}

func requireGone(t *testing.T, s *server, ref reactor.Ref) {
	t.Helper()
	_, ok := s.ByID(ref.ID())
	require.False(t, ok, "by ID")
	_, ok = s.Lookup(ref.Tuple())
	require.False(t, ok, "by tuple")
	for r := range s.Conns() {
		require.False(t, r == ref, "in Conns")
	}
}

func unmapped(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func errOtherThanClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// hasIPv6 says whether this machine has an IPv6 loopback address.
func hasIPv6() bool {
	lis, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = lis.Close()
	return true
}
