// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// A conversation is a session's handler with state of its own.
type conversation struct {
	*conversations
	number int // of datagrams
}

// conversations make one for each session, and tell of them.
type conversations struct {
	open     func(s *reactor.Session) error // nil refuses nobody
	datagram func(v *conversation, s *reactor.Session, d *reactor.Datagram)
	opened   chan reactor.Ref
	closed   chan ending
}

// An ending is a session's, told by Close.
type ending struct {
	ref reactor.Ref
	err error
}

// numbered answers with how many datagrams the session has had, and the datagram.
func numbered(v *conversation, s *reactor.Session, d *reactor.Datagram) {
	v.number++
	if _, err := s.Write(fmt.Appendf(nil, "%d %s", v.number, d.Payload)); err != nil {
		panic(err)
	}
}

func newConversations() *conversations {
	return &conversations{datagram: numbered, opened: make(chan reactor.Ref, 4096), closed: make(chan ending, 4096)}
}

func (vs *conversations) begin(s *reactor.Session) (reactor.SessionHandler, error) {
	if vs.open != nil {
		if err := vs.open(s); err != nil {
			return nil, err
		}
	}
	vs.opened <- s.Ref()
	return &conversation{conversations: vs}, nil
}

func (v *conversation) Datagram(s *reactor.Session, d *reactor.Datagram) { v.datagram(v, s, d) }

func (v *conversation) Close(s *reactor.Session, err error) { v.closed <- ending{s.Ref(), err} }

// Each sender has its state, however the listener is bound; on all interfaces the address that was asked counts, too.
func TestSessions(t *testing.T) {
	for _, route := range packetRoutes {
		for _, loops := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s %s at %s/loops=%d", route.network, route.address, route.host, loops), func(t *testing.T) {
				if strings.Contains(route.host, "::") {
					needIPv6(t)
				}
				vs := newConversations()
				s := start(t, reactor.Options{Loops: loops})
				lis := s.listenPacket(route.network, route.address, reactor.Sessions(vs.begin, nil), nil)
				a, b := dialPacket(t, lis, route.host), dialPacket(t, lis, route.host)
				refs := map[packetClient]reactor.Ref{}
				for i, cl := range []packetClient{a, b} {
					cl.exchange("one", "1 one")
					refs[cl] = receive(t, vs.opened)
					cl.exchange("", "2 ")
					most := string(pattern(route.largest - 2))
					cl.exchange(most, "3 "+most)
					require.Empty(t, vs.opened)
					require.Equal(t, cl.LocalAddr().(*net.UDPAddr).AddrPort(), refs[cl].Tuple().Remote)
					if route.known || runtime.GOOS == "linux" {
						require.Equal(t, cl.RemoteAddr().(*net.UDPAddr).AddrPort(), refs[cl].Tuple().Local)
					}
					known := 0
					for range s.Conns() {
						known++
					}
					require.Equal(t, i+1, known)
				}
				require.NotEqual(t, refs[a].ID(), refs[b].ID())
				for cl, ref := range refs {
					found, ok := s.Lookup(ref.Tuple())
					require.True(t, ok)
					require.Equal(t, ref, found)
					found, ok = s.ByID(ref.ID())
					require.True(t, ok)
					require.Equal(t, ref, found)
					cl.exchange("four", "4 four")
				}
			})
		}
	}
}

// The address that was asked makes a difference on a socket of all interfaces.
func TestSessionsOfOneSenderAtTwoAddresses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere it is not known")
	}
	vs := newConversations()
	s := servePacket(t, "udp4", ":0", reactor.Sessions(vs.begin, nil), nil)
	cl := packetServer(t, "udp4", "127.0.0.1:0")
	buf := make([]byte, 16)
	for _, want := range []string{"1 x", "2 x"} {
		for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
			at := netip.AddrPortFrom(netip.MustParseAddr(host), s.Listener.Addr().(*net.UDPAddr).AddrPort().Port())
			_, err := cl.WriteToUDPAddrPort([]byte("x"), at)
			require.NoError(t, err)
			n, from, err := cl.ReadFromUDPAddrPort(buf)
			require.NoError(t, err)
			require.Equal(t, at, from)
			require.Equal(t, want, string(buf[:n]))
		}
	}
	require.Len(t, vs.opened, 2)
}

// The same Ref as a stream's: datagrams from any goroutine, functions, the end.
func TestSessionRef(t *testing.T) {
	for _, loops := range []int{1, 3} {
		t.Run(fmt.Sprint("loops=", loops), func(t *testing.T) {
			vs := newConversations()
			s := start(t, reactor.Options{Loops: loops})
			cl := dialPacket(t, s.listenPacket("udp", "127.0.0.1:0", reactor.Sessions(vs.begin, nil), nil), "127.0.0.1")
			cl.exchange("hello", "1 hello")
			ref := receive(t, vs.opened)

			sent := make(chan error, 1)
			go func() { // each Write is one datagram, in order
				for i := range 100 {
					if _, err := ref.Write(fmt.Append(nil, i)); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			require.NoError(t, receive(t, sent))
			for i := range 100 {
				require.Equal(t, fmt.Sprint(i), cl.receive())
			}
			for _, size := range []int{0, largest4} {
				n, err := ref.Write(pattern(size))
				require.NoError(t, err)
				require.Equal(t, size, n)
				require.Len(t, cl.receive(), size)
			}
			n, err := ref.Write(make([]byte, largest4+1))
			require.ErrorIs(t, err, syscall.EMSGSIZE)
			require.Zero(t, n)

			do(t, ref, func(c *reactor.Conn) {
				session := c.Session()
				require.Equal(t, ref, session.Ref())
				require.Equal(t, ref.ID(), session.ID())
				require.Equal(t, ref.Tuple(), session.Tuple())
				require.Same(t, c.PacketConn(), session.PacketConn())
				_, err := c.Write([]byte("from Do"))
				require.NoError(t, err)
				_, err = session.Write(make([]byte, largest4+1))
				require.ErrorIs(t, err, syscall.EMSGSIZE)
				c.Pause() // of a stream alone
				c.Resume()
				c.Need(5)
			})
			require.Equal(t, "from Do", cl.receive())

			_, err = ref.Write([]byte("farewell"))
			require.NoError(t, err)
			require.NoError(t, ref.Close())
			require.Equal(t, "farewell", cl.receive())
			require.Equal(t, ending{ref, nil}, receive(t, vs.closed))
			_, err = ref.Write([]byte("too late"))
			require.ErrorIs(t, err, net.ErrClosed)
			require.ErrorIs(t, ref.Close(), net.ErrClosed)
			_, ok := s.Lookup(ref.Tuple())
			require.False(t, ok)
			gone := make(chan error, 1)
			require.NoError(t, ref.Do(func(c *reactor.Conn, err error) {
				_, werr := c.Write([]byte("too late"))
				gone <- errors.Join(err, werr)
			}))
			require.ErrorIs(t, receive(t, gone), net.ErrClosed)

			cl.exchange("hello again", "1 hello again")
			require.NotEqual(t, ref, receive(t, vs.opened))
			require.Zero(t, s.Buffered())
		})
	}
}

// Close and Abort in a handler: nothing more is delivered, what comes next begins anew, in this order.
func TestSessionCloseInHandler(t *testing.T) {
	vs := newConversations()
	gate := make(chan struct{})
	vs.datagram = func(v *conversation, s *reactor.Session, d *reactor.Datagram) {
		if string(d.Payload) == "wait" {
			<-gate // so that what follows is one batch
		}
		numbered(v, s, d)
		if string(d.Payload) == "close" {
			require.NoError(t, s.Close())
			require.ErrorIs(t, s.Close(), net.ErrClosed)
			_, err := s.Write(nil)
			require.ErrorIs(t, err, net.ErrClosed)
		}
	}
	s := servePacket(t, "udp", "127.0.0.1:0", reactor.Sessions(vs.begin, nil), nil)
	cl := dialPacket(t, s.Listener, "127.0.0.1")
	for _, p := range []string{"wait", "close", "close", "x"} {
		cl.send(p)
	}
	close(gate)
	for _, want := range []string{"1 wait", "2 close", "1 close", "1 x"} {
		require.Equal(t, want, cl.receive())
	}
	for range 2 {
		require.Equal(t, ending{receive(t, vs.opened), nil}, receive(t, vs.closed))
	}
	last := receive(t, vs.opened)
	do(t, last, (*reactor.Conn).Abort)
	require.Equal(t, ending{last, reactor.ErrAborted}, receive(t, vs.closed))
}

// An idleSession answers with nothing, and tells how long ago the last datagram was sent when it closes: that is what
// the datagrams say.
type idleSession struct {
	began time.Time
	sent  time.Duration
	lives chan<- idleLife
}

type idleLife struct {
	silent time.Duration
	err    error
}

func (h *idleSession) Datagram(s *reactor.Session, d *reactor.Datagram) {
	n, _ := strconv.ParseInt(string(d.Payload), 10, 64)
	h.sent = time.Duration(n)
	_, _ = s.Write(nil)
}

func (h *idleSession) Close(_ *reactor.Session, err error) {
	h.lives <- idleLife{time.Since(h.began) - h.sent, err}
}

// A session ends when nothing was received for IdleTimeout: not before, whatever is sent, and not while a datagram waits.
func TestSessionIdle(t *testing.T) {
	t.Parallel()
	for _, idle := range []time.Duration{20 * time.Millisecond, 200 * time.Millisecond} {
		t.Run(idle.String(), func(t *testing.T) {
			lives := make(chan idleLife, 64)
			began := time.Now()
			s := servePacket(t, "udp", "127.0.0.1:0", reactor.Sessions(func(*reactor.Session) (reactor.SessionHandler, error) {
				return &idleSession{began: began, lives: lives}, nil
			}, &reactor.SessionOptions{IdleTimeout: idle}), nil)
			cl := dialPacket(t, s.Listener, "127.0.0.1")
			var ref reactor.Ref
			for range 5 { // a slow machine may make several sessions of it
				cl.exchange(fmt.Sprint(int64(time.Since(began))), "")
				for open := range s.Conns() {
					ref = open
				}
			}
			for len(lives) == 0 { // sending does not keep it
				_, _ = ref.Write([]byte("still there?"))
				time.Sleep(idle / 10)
			}
			life := receive(t, lives)
			require.GreaterOrEqual(t, life.silent, idle)
			require.ErrorIs(t, life.err, reactor.ErrIdleTimeout)
			eventually(t, "no session is left", func() bool {
				for range s.Conns() {
					return false
				}
				return true
			})
		})
	}
	t.Run("a datagram waits", func(t *testing.T) {
		const idle = 50 * time.Millisecond
		vs := newConversations()
		s := servePacket(t, "udp", "127.0.0.1:0", reactor.Sessions(vs.begin, &reactor.SessionOptions{IdleTimeout: idle}), nil)
		blocker := dialPacket(t, s.listenPacket("udp", "127.0.0.1:0", reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
			time.Sleep(2 * idle)
			_ = d.Reply(nil)
		}), nil), "127.0.0.1")
		for range 3 {
			cl := dialPacket(t, s.Listener, "127.0.0.1")
			began := time.Now()
			cl.exchange("first", "1 first")
			blocker.send("be busy")
			cl.send("second") // in time, but the loop cannot look
			sent := time.Now()
			answer := cl.receive()
			if sent.Sub(began) < idle {
				require.Equal(t, "2 second", answer)
				return
			} // else a slow machine: once more
		}
		t.Skip("the machine is too slow")
	})
	t.Run("never", func(t *testing.T) {
		vs := newConversations()
		s := servePacket(t, "udp", "127.0.0.1:0", reactor.Sessions(vs.begin, &reactor.SessionOptions{IdleTimeout: -1}), nil)
		cl := dialPacket(t, s.Listener, "127.0.0.1")
		cl.exchange("x", "1 x")
		cl.exchange("y", "2 y")
		require.Empty(t, vs.closed)
	})
}

// At the limit, which is that of all sockets together, new senders are refused and counted; the others go on.
func TestSessionLimit(t *testing.T) {
	for _, loops := range []int{1, 3} {
		t.Run(fmt.Sprint("loops=", loops), func(t *testing.T) {
			const limit = 5
			vs := newConversations()
			s := start(t, reactor.Options{Loops: loops})
			lis := s.listenPacket("udp", "127.0.0.1:0", reactor.Sessions(vs.begin, &reactor.SessionOptions{MaxSessions: limit}), nil)
			var in []packetClient
			for range limit {
				in = append(in, dialPacket(t, lis, "127.0.0.1"))
				in[len(in)-1].exchange("x", "1 x")
			}
			outside := dialPacket(t, lis, "127.0.0.1")
			const tries = 3
			for range tries {
				outside.send("me too")
			}
			first := receive(t, vs.opened)
			if loops == 1 { // else the socket that refuses may have no session to ask it through
				eventually(t, "the refused are counted", func() bool {
					var refused uint64
					do(t, first, func(c *reactor.Conn) { refused = c.PacketConn().Stats().Refused })
					return refused == tries
				})
			}
			for _, cl := range in {
				cl.exchange("y", "2 y")
			}
			require.Len(t, vs.opened, limit-1)
			require.NoError(t, first.Close())
			receive(t, vs.closed)
			eventually(t, "there is a place", func() bool {
				outside.send("now?")
				_ = outside.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				_, err := outside.Read(make([]byte, 16))
				return err == nil
			})
		})
	}
}

// Open may refuse: there is no session then, and no Close.
func TestSessionRefused(t *testing.T) {
	vs := newConversations()
	refusals := 0
	vs.open = func(s *reactor.Session) error {
		if refusals++; refusals < 3 {
			return errors.New("not yet")
		}
		_, err := s.Write(fmt.Append(nil, s.PacketConn().Stats().Refused))
		return err
	}
	s := servePacket(t, "udp", "127.0.0.1:0", reactor.Sessions(vs.begin, &reactor.SessionOptions{MaxSessions: 1}), nil)
	cl := dialPacket(t, s.Listener, "127.0.0.1")
	for range 3 {
		cl.send("please")
	}
	require.Equal(t, "2", cl.receive())
	require.Equal(t, "1 please", cl.receive())
	require.Empty(t, vs.closed)
}

// A panic, or Goexit, closes its session and no other, wherever it comes.
func TestSessionPanics(t *testing.T) {
	for name, crash := range map[string]func(){"panic": func() { panic("ouch") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			vs := newConversations()
			crashes := 0
			vs.open = func(*reactor.Session) error {
				if crashes++; crashes == 2 {
					crash()
				}
				return nil
			}
			vs.datagram = func(v *conversation, s *reactor.Session, d *reactor.Datagram) {
				if string(d.Payload) == "crash" {
					crash()
				}
				numbered(v, s, d)
			}
			s := servePacket(t, "udp", "127.0.0.1:0", reactor.Sessions(vs.begin, nil), nil)
			healthy, cl := dialPacket(t, s.Listener, "127.0.0.1"), dialPacket(t, s.Listener, "127.0.0.1")
			healthy.exchange("x", "1 x")
			cl.send("lost: the open func crashes")
			cl.exchange("y", "1 y")
			receive(t, vs.opened)
			ref := receive(t, vs.opened)

			cl.send("crash")
			end := receive(t, vs.closed)
			require.Equal(t, ref, end.ref)
			var failure *reactor.PanicError
			require.ErrorAs(t, end.err, &failure)
			cl.exchange("z", "1 z")
			ref = receive(t, vs.opened)
			require.NoError(t, ref.Do(func(*reactor.Conn, error) { crash() }))
			end = receive(t, vs.closed)
			require.Equal(t, ref, end.ref)
			require.ErrorAs(t, end.err, &failure)

			healthy.exchange("still here", "2 still here")
			require.Empty(t, vs.closed)
		})
	}
}

// The numbers in the IDs of sessions that have ended are given to others, however many there were: they stay small.
func TestSessionNumbersComeAgain(t *testing.T) {
	vs := newConversations()
	vs.datagram = func(v *conversation, s *reactor.Session, d *reactor.Datagram) {
		numbered(v, s, d)
		if string(d.Payload) == "bye" {
			_ = s.Close()
		}
	}
	s := servePacket(t, "udp", "127.0.0.1:0", reactor.Sessions(vs.begin, nil), nil)
	a, b := dialPacket(t, s.Listener, "127.0.0.1"), dialPacket(t, s.Listener, "127.0.0.1")
	for range 100 {
		a.exchange("bye", "1 bye")
		receive(t, vs.opened)
		receive(t, vs.closed)
	}
	a.exchange("x", "1 x")
	b.exchange("x", "1 x")
	for range 2 {
		ref := receive(t, vs.opened)
		require.Less(t, ref.ID()&(1<<24-1), uint64(2))
		found, ok := s.ByID(ref.ID())
		require.True(t, ok)
		require.Equal(t, ref, found)
	}
}

// crashingClose ends with a crash.
type crashingClose struct {
	conversation
	crash func()
}

func (v *crashingClose) Close(s *reactor.Session, err error) {
	v.conversation.Close(s, err)
	v.crash()
}

// Every session has got its Close when Shutdown returns, or the listener's Close, even if those of others crash.
func TestSessionsEndWithTheirListener(t *testing.T) {
	const clients = 20
	for _, how := range []string{"Shutdown", "Close", "Listener.Close"} {
		for name, crash := range map[string]func(){"nothing": func() {}, "panic": func() { panic("ouch") }, "Goexit": runtime.Goexit} {
			t.Run(how+" and "+name, func(t *testing.T) {
				vs := newConversations()
				s := start(t, reactor.Options{Loops: 2})
				lis := s.listenPacket("udp", "127.0.0.1:0", reactor.Sessions(func(session *reactor.Session) (reactor.SessionHandler, error) {
					_, err := vs.begin(session)
					return &crashingClose{conversation{conversations: vs}, crash}, err
				}, nil), nil)
				for range clients {
					dialPacket(t, lis, "127.0.0.1").exchange("x", "1 x")
				}
				want := reactor.ErrShutdown
				switch how {
				case "Shutdown":
					require.NoError(t, s.Shutdown(context.Background()))
				case "Close":
					require.NoError(t, s.Close())
				default:
					want = net.ErrClosed
					require.NoError(t, lis.Close())
				}
				require.Len(t, vs.closed, clients)
				for range clients {
					end := receive(t, vs.closed)
					require.Equal(t, want, end.err)
					_, err := end.ref.Write(nil)
					require.ErrorIs(t, err, net.ErrClosed)
				}
			})
		}
	}
}

// Idling, and idle sessions, wake nobody.
func TestSessionWakeups(t *testing.T) {
	r, err := reactor.New(reactor.Options{Loops: 1})
	require.NoError(t, err)
	events := reactor.CountEvents(r)
	vs := newConversations()
	lis, err := r.ListenPacket("udp", "127.0.0.1:0", reactor.Sessions(vs.begin, &reactor.SessionOptions{IdleTimeout: 10 * time.Second}), nil)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- r.Serve(context.Background()) }()
	for range 20 {
		dialPacket(t, lis, "127.0.0.1").exchange("x", "1 x")
	}
	before := events()
	time.Sleep(300 * time.Millisecond) // how long nothing happens
	require.LessOrEqual(t, events()-before, int64(2))
	require.NoError(t, r.Close())
	require.NoError(t, receive(t, served))
}

// No datagram of a session allocates, whichever way it goes.
func TestSessionAllocations(t *testing.T) {
	if raceBuild || plainSyscalls || strings.Contains(buildSetting("-tags"), "poll_opt") {
		t.Skip("not the reactor's own allocations")
	}
	for _, route := range packetRoutes {
		t.Run(fmt.Sprintf("%s %s at %s", route.network, route.address, route.host), func(t *testing.T) {
			if strings.Contains(route.host, "::") {
				needIPv6(t)
			}
			vs := newConversations()
			vs.datagram = func(_ *conversation, s *reactor.Session, d *reactor.Datagram) { _, _ = s.Write(d.Payload) }
			s := servePacket(t, route.network, route.address, reactor.Sessions(vs.begin, nil), nil)
			cl := dialPacket(t, s.Listener, route.host)
			cl.exchange("x", "x")
			ref := receive(t, vs.opened)
			out, in := pattern(512), make([]byte, 1024)
			exchange := func() {
				for range 4 {
					_, err := cl.Write(out)
					if err == nil {
						_, err = ref.Write(out)
					}
					if err != nil {
						t.Error(err)
					}
				}
				for range 8 {
					if _, err := cl.Read(in); err != nil {
						t.Error(err)
					}
				}
			}
			for range 2000 { // the pools grow warm
				exchange()
			}
			require.Zero(t, testing.AllocsPerRun(200, exchange))
		})
	}
}

func TestSessionOptionsChecked(t *testing.T) {
	s := start(t, reactor.Options{Loops: 1})
	for _, tc := range []struct {
		o    reactor.SessionOptions
		want string
	}{
		{reactor.SessionOptions{IdleTimeout: -2}, "reactor: IdleTimeout is -2ns, must be positive, 0 for the default or -1 for none"},
		{reactor.SessionOptions{MaxSessions: -2}, "reactor: MaxSessions is -2, must be positive, 0 for the default or -1 for none"},
		{reactor.SessionOptions{MaxSessions: 1<<24 + 1}, "reactor: MaxSessions is 16777217, must be at most 16777216"},
	} {
		_, err := s.ListenPacket("udp", "127.0.0.1:0", reactor.Sessions(newConversations().begin, &tc.o), nil)
		require.EqualError(t, err, tc.want)
	}
	_, err := s.ListenPacket("udp", "127.0.0.1:0", reactor.Sessions(nil, nil), nil)
	require.EqualError(t, err, "reactor: Sessions without a function")
}

// Wrapped, Sessions sees what it is given.
func TestSessionsWrapped(t *testing.T) {
	vs := newConversations()
	inner := reactor.Sessions(vs.begin, nil)
	s := servePacket(t, "udp", "127.0.0.1:0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
		if strings.HasPrefix(string(d.Payload), "please ") {
			inner.Datagram(s, d)
		} else {
			_ = d.Reply([]byte("say please"))
		}
	}), nil)
	cl := dialPacket(t, s.Listener, "127.0.0.1")
	cl.exchange("hello", "say please")
	require.Empty(t, vs.opened)
	cl.exchange("please hello", "1 please hello")
}
