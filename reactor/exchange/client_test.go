// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/reactor/exchange"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

var (
	// patient is for replies that come.
	patient = exchange.Backoff{First: patience, Limit: patience}
	// hasty is for tries that get none, and leaves so many that the one with a reply is among them.
	hasty = exchange.Backoff{First: time.Millisecond, Limit: patience}
	// brief is for requests that are given up.
	brief = exchange.Backoff{First: time.Millisecond, Limit: 4 * time.Millisecond}
)

// sameNumber matches by what stands before the first colon.
func sameNumber(request, reply []byte) bool {
	a, _, _ := bytes.Cut(request, []byte(":"))
	b, _, _ := bytes.Cut(reply, []byte(":"))
	return bytes.Equal(a, b)
}

// socket returns a UDP socket that closes with the test.
func socket(t testing.TB, address string) *net.UDPConn {
	t.Helper()
	s, err := net.ListenPacket("udp", address)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s.(*net.UDPConn)
}

// serve calls handle with each datagram that comes until the test ends; reply answers it, and answers arrive in order.
func serve(t testing.TB, handle func(request string, reply func(string))) net.Addr {
	t.Helper()
	s := socket(t, "127.0.0.1:0")
	ended := make(chan struct{})
	t.Cleanup(func() { s.Close(); <-ended })
	go func() {
		defer close(ended)
		inOrder()
		buf := make([]byte, 1<<16)
		for {
			n, from, err := s.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			handle(string(buf[:n]), func(p string) { _, _ = s.WriteTo([]byte(p), from) })
		}
	}()
	return s.LocalAddr()
}

func echo(request string, reply func(string)) { reply(request) }

// Both ways to have a Client; each test that can runs over both.
var ways = []struct {
	name string
	to   func(t *testing.T, peer net.Addr, o *exchange.Options) *exchange.Client
}{
	{"connected", func(t *testing.T, peer net.Addr, o *exchange.Options) *exchange.Client {
		return closing(t)(exchange.Dial(t.Context(), "udp", peer.String(), o))
	}},
	{"not connected", func(t *testing.T, peer net.Addr, o *exchange.Options) *exchange.Client {
		return closing(t)(exchange.NewClient(socket(t, ":0"), peer, o)) // of both families, where there are two
	}},
}

func closing(t *testing.T) func(c *exchange.Client, err error) *exchange.Client {
	return func(c *exchange.Client, err error) *exchange.Client {
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
}

func eachWay(t *testing.T, body func(t *testing.T, to func(peer net.Addr, o *exchange.Options) *exchange.Client)) {
	t.Helper()
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			body(t, func(peer net.Addr, o *exchange.Options) *exchange.Client { return way.to(t, peer, o) })
		})
	}
}

func do(t *testing.T, c *exchange.Client, request, want string) {
	t.Helper()
	got, err := c.Do(t.Context(), []byte(request))
	require.NoError(t, err)
	require.NotNil(t, got)
	require.True(t, want == string(got), "%.80q of %d bytes", got, len(got))
}

func TestReply(t *testing.T) {
	eachWay(t, func(t *testing.T, to func(net.Addr, *exchange.Options) *exchange.Client) {
		c := to(serve(t, echo), &exchange.Options{Backoff: patient})
		for _, n := range []int{5, 0, 1, 1472, 65507} {
			p := string(bytes.Repeat([]byte{'a' + byte(n%26)}, n))
			do(t, c, p, p)
		}
		require.Equal(t, exchange.Stats{Requests: 5, Tries: 5, Replies: 5}, c.Stats())
	})
}

// The first tries are lost. The last is answered, and the loser learns nothing of the others.
func TestRetry(t *testing.T) {
	eachWay(t, func(t *testing.T, to func(net.Addr, *exchange.Options) *exchange.Client) {
		came := 0
		c := to(serve(t, func(request string, reply func(string)) {
			if came++; came > 3 {
				reply("at last: " + request)
			}
		}), &exchange.Options{Backoff: hasty})
		do(t, c, "hello", "at last: hello")
		stats := c.Stats()
		require.GreaterOrEqual(t, stats.Tries, uint64(4)) // more if the machine is slow
		stats.Tries = 0
		require.Equal(t, exchange.Stats{Requests: 1, Replies: 1}, stats)
	})
}

// Late replies to a request that nobody awaits any more, and duplicates, are nothing to the requests after it.
func TestLateAndDuplicate(t *testing.T) {
	eachWay(t, func(t *testing.T, to func(net.Addr, *exchange.Options) *exchange.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := to(serve(t, func(request string, reply func(string)) {
			if request == "1:late" {
				cancel()
				return
			}
			if request == "2:twice" {
				reply("1:late")
				reply("1:late")
				reply(request)
			}
			reply(request)
		}), &exchange.Options{Backoff: patient, Match: sameNumber})
		_, err := c.Do(ctx, []byte("1:late"))
		require.ErrorIs(t, err, context.Canceled)
		do(t, c, "2:twice", "2:twice")
		require.EqualValues(t, 2, c.Stats().Unmatched)
		do(t, c, "3:last", "3:last")
		require.Equal(t, exchange.Stats{Requests: 3, Tries: 3, Replies: 2, Unmatched: 3}, c.Stats())
	})
}

// Without Match the first datagram of the peer is the reply, whatever it says.
func TestAnyReply(t *testing.T) {
	c := ways[0].to(t, serve(t, func(_ string, reply func(string)) { reply("what?") }), &exchange.Options{Backoff: patient})
	do(t, c, "hello", "what?")
}

// Only the peer is heard: neither another port of its host nor another host at its port.
func TestForeign(t *testing.T) {
	stranger := socket(t, "127.0.0.1:0")
	me := make(chan net.Addr, 1)
	peer := serve(t, func(request string, reply func(string)) {
		_, _ = stranger.WriteTo([]byte(request), <-me)
		reply("mine")
	})
	s := socket(t, "127.0.0.1:0")
	namesake := socket(t, fmt.Sprintf("127.0.0.2:%d", peer.(*net.UDPAddr).Port))
	_, err := namesake.WriteTo([]byte("hello"), s.LocalAddr())
	require.NoError(t, err)
	c, err := exchange.NewClient(s, peer, &exchange.Options{Backoff: patient})
	require.NoError(t, err)
	me <- c.LocalAddr()
	do(t, c, "hello", "mine")
	require.Equal(t, exchange.Stats{Requests: 1, Tries: 1, Replies: 1, Foreign: 2}, c.Stats())
	require.Equal(t, peer, c.RemoteAddr())
}

// However many strangers talk, a request ends when its time is over.
func TestForeignFlood(t *testing.T) {
	s, stranger, peer := socket(t, "127.0.0.1:0"), socket(t, "127.0.0.1:0"), socket(t, "127.0.0.1:0")
	c, err := exchange.NewClient(s, peer.LocalAddr(), &exchange.Options{Backoff: brief})
	require.NoError(t, err)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = stranger.WriteTo([]byte("noise"), s.LocalAddr())
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	var none *exchange.NoReplyError
	for c.Stats().Foreign == 0 {
		_, err = c.Do(t.Context(), []byte("hello"))
		require.ErrorAs(t, err, &none)
	}
}

// reserve holds a port that answers with ICMP: its socket is connected to itself and hears nobody else.
func reserve(t testing.TB) *net.UDPConn {
	t.Helper()
	s := socket(t, "127.0.0.1:0")
	connect(t, s, s.LocalAddr())
	return s
}

func connect(t testing.TB, s *net.UDPConn, peer net.Addr) {
	t.Helper()
	raw, err := s.SyscallConn()
	require.NoError(t, err)
	var failed error
	require.NoError(t, raw.Control(func(fd uintptr) {
		failed = unix.Connect(int(fd), &unix.SockaddrInet4{Port: peer.(*net.UDPAddr).Port, Addr: [4]byte{127, 0, 0, 1}})
	}))
	require.NoError(t, failed)
}

// A refused request is tried as often as one that meets silence; what was told is in its error.
func TestRefused(t *testing.T) {
	peer := reserve(t).LocalAddr()
	// Long enough that a slow machine hears of it in one of them.
	c := ways[0].to(t, peer, &exchange.Options{Backoff: exchange.Backoff{First: 20 * time.Millisecond, Limit: 80 * time.Millisecond}})
	_, err := c.Do(t.Context(), []byte("hello"))
	var none *exchange.NoReplyError
	require.ErrorAs(t, err, &none)
	require.Equal(t, 3, none.Tries)
	require.Equal(t, 140*time.Millisecond, none.Waited)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.ErrorContains(t, err, "exchange: no reply from "+peer.String()+" to 3 tries in 140ms: the server may be down (")
	require.ErrorContains(t, err, "connection refused")
	require.Equal(t, uint64(3), c.Stats().Tries)
	require.Positive(t, c.Stats().Errors)
}

// watched is a connected socket that shows what its Read fails with, and can put something in its place.
type watched struct {
	*net.UDPConn
	failed func(err error) error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.UDPConn.Read(p)
	if err != nil {
		err = w.failed(err)
	}
	return n, err
}

func watch(t *testing.T, peer net.Addr, o *exchange.Options, failed func(error) error) *exchange.Client {
	t.Helper()
	conn, err := net.Dial("udp", peer.String())
	require.NoError(t, err)
	return closing(t)(exchange.NewClient(&watched{conn.(*net.UDPConn), failed}, nil, o))
}

// A server that starts while it is asked is found, whatever ICMP told of the tries before: also when that was "too
// long", for the kernel sends the next in fragments.
func TestRefusedThenServed(t *testing.T) {
	for _, told := range []syscall.Errno{syscall.ECONNREFUSED, syscall.EMSGSIZE} {
		t.Run(told.Error(), func(t *testing.T) {
			server := reserve(t)
			var c *exchange.Client
			refused := false
			c = watch(t, server.LocalAddr(), &exchange.Options{Backoff: hasty}, func(err error) error {
				if refused || !errors.Is(err, syscall.ECONNREFUSED) {
					return err
				}
				refused = true
				connect(t, server, c.LocalAddr()) // hears from now on
				go func() {
					buf := make([]byte, 16)
					if n, err := server.Read(buf); err == nil {
						_, _ = server.Write(buf[:n])
					}
				}()
				return os.NewSyscallError("read", told)
			})
			do(t, c, "hello", "hello")
			require.True(t, refused)
			require.GreaterOrEqual(t, c.Stats().Tries, uint64(2))
			require.Equal(t, uint64(1), c.Stats().Replies)
		})
	}
}

// An end of the context before the schedule's tells what the socket had to say.
func TestRefusedThenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	c := watch(t, reserve(t).LocalAddr(), &exchange.Options{Backoff: patient}, func(err error) error {
		cancel(enough)
		return err
	})
	_, err := c.Do(ctx, nil)
	require.ErrorContains(t, err, "to 1 tries: enough (")
	require.ErrorIs(t, err, enough)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// A request that no datagram can hold is told at once.
func TestTooLong(t *testing.T) {
	eachWay(t, func(t *testing.T, to func(net.Addr, *exchange.Options) *exchange.Client) {
		peer := serve(t, echo)
		c := to(peer, &exchange.Options{Backoff: patient})
		_, err := c.Do(t.Context(), make([]byte, 65508))
		require.ErrorIs(t, err, syscall.EMSGSIZE)
		require.ErrorContains(t, err, "exchange: request of 65508 bytes to "+peer.String()+": ")
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, uint64(1), c.Stats().Tries)
		do(t, c, "hello", "hello")
	})
}

// A done context sends nothing; one that ends while a reply is awaited ends that, and the next request is none the worse.
func TestCancelled(t *testing.T) {
	eachWay(t, func(t *testing.T, to func(net.Addr, *exchange.Options) *exchange.Client) {
		asked := make(chan string, 1)
		c := to(serve(t, func(request string, reply func(string)) {
			asked <- request
			if request == "answer this" {
				reply("yes")
			}
		}), &exchange.Options{Backoff: patient})

		done, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := c.Do(done, []byte("done"))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, " to 0 tries: ")
		require.Zero(t, c.Stats().Tries)

		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-asked
				cancel()
			}()
			_, err := c.Do(ctx, []byte("never answered"))
			require.ErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			do(t, c, "answer this", "yes")
			require.Equal(t, "answer this", <-asked)
		}
	})
}

// Close from elsewhere ends what waits, and what comes after.
func TestClose(t *testing.T) {
	eachWay(t, func(t *testing.T, to func(net.Addr, *exchange.Options) *exchange.Client) {
		asked := make(chan struct{}, 1)
		c := to(serve(t, func(string, func(string)) { asked <- struct{}{} }), &exchange.Options{Backoff: patient})
		go func() {
			<-asked
			c.Close()
		}()
		for range 2 {
			_, err := c.Do(t.Context(), []byte("hello"))
			require.ErrorIs(t, err, net.ErrClosed)
		}
	})
}

func TestIPv6(t *testing.T) {
	s, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6: ", err)
	}
	defer s.Close()
	c, err := exchange.Dial(t.Context(), "udp6", s.LocalAddr().String(), &exchange.Options{Backoff: patient})
	require.NoError(t, err)
	defer c.Close()
	go func() {
		buf := make([]byte, 1<<16)
		if n, from, err := s.ReadFrom(buf); err == nil {
			_, _ = s.WriteTo(buf[:n], from)
		}
	}()
	p := string(make([]byte, 65527))
	do(t, c, p, p)
}

func TestPeerChecked(t *testing.T) {
	free, peer := socket(t, "127.0.0.1:0"), serve(t, echo)
	for _, bad := range []net.Addr{
		nil,
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9},
		&net.UDPAddr{Port: 9},
		&net.UDPAddr{IP: net.IPv4zero, Port: 9},
		&net.UDPAddr{IP: net.IPv4(224, 0, 0, 1), Port: 9},
		&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)},
	} {
		_, err := exchange.NewClient(free, bad, nil)
		require.EqualError(t, err, fmt.Sprintf("exchange: peer is %v, must be the UDP address of one host where the socket is not connected", bad))
	}
	connected, err := net.Dial("udp", peer.String())
	require.NoError(t, err)
	defer connected.Close()
	_, err = exchange.NewClient(connected.(*net.UDPConn), peer, nil)
	require.EqualError(t, err, fmt.Sprintf("exchange: peer is %v, must be nil for a socket connected to %v", peer, peer))

	_, err = exchange.Dial(t.Context(), "tcp", peer.String(), nil)
	require.EqualError(t, err, "dial tcp: unknown network tcp")
	_, err = exchange.Dial(t.Context(), "udp", "127.0.0.1", nil)
	require.ErrorContains(t, err, "missing port in address")
}
