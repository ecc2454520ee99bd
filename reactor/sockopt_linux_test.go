// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package reactor_test

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A socketOption is one of the kernel's.
type socketOption struct{ level, name int }

var (
	noDelay      = socketOption{unix.IPPROTO_TCP, unix.TCP_NODELAY}
	keepAlive    = socketOption{unix.SOL_SOCKET, unix.SO_KEEPALIVE}
	keepIdle     = socketOption{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}
	keepInterval = socketOption{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}
	keepCount    = socketOption{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}
	userTimeout  = socketOption{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT}
	sendBuffer   = socketOption{unix.SOL_SOCKET, unix.SO_SNDBUF}
	recvBuffer   = socketOption{unix.SOL_SOCKET, unix.SO_RCVBUF}
	fastOpen     = socketOption{unix.IPPROTO_TCP, unix.TCP_FASTOPEN}
	deferAccept  = socketOption{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT}
)

// of reads the option back from a descriptor.
func (o socketOption) of(t testing.TB, fd int) int {
	t.Helper()
	v, err := unix.GetsockoptInt(fd, o.level, o.name)
	require.NoError(t, err)
	return v
}

// Every socket option that was asked for is what the kernel says that the accepted connection has.
func TestAcceptedConnectionsHaveTheOptions(t *testing.T) {
	t.Parallel()
	defaults := map[socketOption]int{noDelay: 1, keepAlive: 1, keepIdle: 15, keepInterval: 15, keepCount: 9, userTimeout: 0}
	rows := []struct {
		name    string
		options *reactor.StreamOptions
		want    map[socketOption]int
	}{
		{"defaults", nil, defaults},
		{"Nagle", &reactor.StreamOptions{Nagle: true}, map[socketOption]int{noDelay: 0}},
		{"no keep-alive", &reactor.StreamOptions{KeepAliveIdle: -1}, map[socketOption]int{keepAlive: 0}},
		{"keep-alive", &reactor.StreamOptions{KeepAliveIdle: 90 * time.Second, KeepAliveInterval: 1500 * time.Millisecond, KeepAliveCount: 4},
			map[socketOption]int{keepAlive: 1, keepIdle: 90, keepInterval: 2, keepCount: 4}},
		{"UserTimeout", &reactor.StreamOptions{UserTimeout: 2500*time.Millisecond + 1}, map[socketOption]int{userTimeout: 2501}},
		{"longest UserTimeout", &reactor.StreamOptions{UserTimeout: 576 * time.Hour}, map[socketOption]int{userTimeout: 576 * 3600 * 1000}},
		{"buffers", &reactor.StreamOptions{SendBuffer: 30 << 10, RecvBuffer: 40 << 10}, map[socketOption]int{sendBuffer: 60 << 10, recvBuffer: 80 << 10}},
	}
	for _, reusePort := range []bool{false, true} {
		for _, row := range rows {
			var o reactor.StreamOptions
			if row.options != nil {
				o = *row.options
			}
			o.ReusePort = reusePort
			accept, refs := accepted(&hooks{})
			s := transport{"tcp", 2}.serve(t, accept, &o)
			s.dial()
			do(t, receive(t, refs), func(c *reactor.Conn) {
				for option, want := range row.want {
					require.Equal(t, want, option.of(t, c.FD()), "%s: option %v", row.name, option)
				}
			})
		}
	}
}

// So have those that were dialled and adopted.
func TestOtherConnectionsHaveTheOptions(t *testing.T) {
	t.Parallel()
	o := &reactor.StreamOptions{
		Nagle: true, KeepAliveIdle: -1, UserTimeout: time.Second, SendBuffer: 30 << 10, RecvBuffer: 40 << 10,
		MaxPerPeer: 1, AcceptRate: 1, FastOpen: 1, DeferAccept: time.Second, // not looked at
	}
	tcp := map[socketOption]int{noDelay: 0, keepAlive: 0, userTimeout: 1000, sendBuffer: 60 << 10, recvBuffer: 80 << 10}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		o, want := *o, tcp
		if tr.network == "unix" {
			o, want = reactor.StreamOptions{SendBuffer: 30 << 10}, map[socketOption]int{sendBuffer: 60 << 10}
		}
		s := tr.serve(t, shared(&hooks{}), nil)
		refs := make(chan reactor.Ref, 2)
		connected := func(c *reactor.Conn, err error) (reactor.Handler, error) {
			require.NoError(t, err)
			refs <- c.Ref()
			return &hooks{}, nil
		}
		address := s.Listener.Addr().String()
		require.NoError(t, s.Dial(t.Context(), tr.network, address, connected, &reactor.DialOptions{Stream: &o}))
		plain, err := dialPlain(s.Listener.Addr())
		require.NoError(t, err)
		require.NoError(t, s.Adopt(plain, connected, &o))
		for range 2 {
			do(t, receive(t, refs), func(c *reactor.Conn) {
				for option, want := range want {
					require.Equal(t, want, option.of(t, c.FD()), "option %v", option)
				}
			})
		}
	})

	s := transport{"unix", 1}.serve(t, shared(&hooks{}), nil)
	never := func(*reactor.Conn, error) (reactor.Handler, error) { t.Error("called"); return nil, nil }
	wrong := &reactor.StreamOptions{UserTimeout: time.Second}
	err := s.Dial(t.Context(), "unix", s.Listener.Addr().String(), never, &reactor.DialOptions{Stream: wrong})
	require.ErrorContains(t, err, "UserTimeout is for tcp")
	plain, err := dialPlain(s.Listener.Addr())
	require.NoError(t, err)
	defer plain.Close()
	require.EqualError(t, s.Adopt(plain, never, wrong), "reactor: UserTimeout is for tcp")
}

// A unix connection gets the SendBuffer that was asked for; it has no other option.
func TestUnixConnectionsHaveTheSendBuffer(t *testing.T) {
	t.Parallel()
	accept, refs := accepted(&hooks{})
	s := transport{"unix", 2}.serve(t, accept, &reactor.StreamOptions{SendBuffer: 30 << 10})
	s.dial()
	do(t, receive(t, refs), func(c *reactor.Conn) { require.Equal(t, 60<<10, sendBuffer.of(t, c.FD())) })

	for name, o := range map[string]reactor.StreamOptions{
		"ReusePort is for tcp":   {ReusePort: true},
		"UserTimeout is for tcp": {UserTimeout: 1},
		"MaxPerPeer is for tcp: the peers of unix sockets have no addresses": {MaxPerPeer: 1},
		"FastOpen is for tcp":     {FastOpen: 1},
		"DeferAccept is for tcp":  {DeferAccept: 1},
		"BindToDevice is for tcp": {BindToDevice: "lo"},
		"RecvBuffer is for tcp: of two unix sockets the sender's SendBuffer counts": {RecvBuffer: 1},
	} {
		path := socketPath(t)
		_, err := s.Listen("unix", path, shared(&hooks{}), &o)
		require.EqualError(t, err, "listen unix "+path+": "+name)
	}
}

// The options of the listening socket itself.
func TestListenersHaveTheOptions(t *testing.T) {
	t.Parallel()
	s := start(t, reactor.Options{Loops: 2})
	lis := s.listen("tcp", "127.0.0.1:0", shared(&hooks{}), &reactor.StreamOptions{FastOpen: 17, DeferAccept: 2500 * time.Millisecond, ReusePort: true})
	require.Len(t, lis.FDs(), 2)
	for _, fd := range lis.FDs() {
		require.Equal(t, 17, fastOpen.of(t, fd))
		require.GreaterOrEqual(t, deferAccept.of(t, fd), 3) // the kernel counts in retransmissions, 1 s, 3 s, 7 s and so on
	}
	lis = s.listen("tcp", "127.0.0.1:0", shared(&hooks{}), nil)
	require.Zero(t, deferAccept.of(t, lis.FDs()[0]))
}

// DeferAccept has a connection accepted with its first bytes.
func TestDeferAccept(t *testing.T) {
	t.Parallel()
	accept, refs := accepted(reactor.DataFunc(echo))
	s := transport{"tcp", 1}.serve(t, accept, &reactor.StreamOptions{DeferAccept: time.Minute})
	silent, talks := s.dial(), s.dial()
	talks.send("x")
	talks.expect("x")
	require.Equal(t, talks.LocalAddr().String(), receive(t, refs).Tuple().Remote.String())
	require.Empty(t, refs, "accepted before it said anything")
	silent.send("y")
	silent.expect("y")
}

// BindToDevice keeps connections to an interface, and names it if there is none.
func TestBindToDevice(t *testing.T) {
	t.Parallel()
	s := start(t, reactor.Options{Loops: 1})
	accept, refs := accepted(&hooks{})
	lis, err := s.Listen("tcp", "127.0.0.1:0", accept, &reactor.StreamOptions{BindToDevice: "lo"})
	if errors.Is(err, syscall.EPERM) {
		t.Skip("binding to an interface takes a right on this kernel")
	}
	require.NoError(t, err)
	dialTo(t, lis.Addr())
	do(t, receive(t, refs), func(c *reactor.Conn) {
		device, err := unix.GetsockoptString(c.FD(), unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
		require.NoError(t, err)
		require.Equal(t, "lo", device)
	})
	_, err = s.Listen("tcp", "127.0.0.1:0", accept, &reactor.StreamOptions{BindToDevice: "no-such-device"})
	require.ErrorIs(t, err, syscall.ENODEV)
	require.EqualError(t, err, "listen tcp 127.0.0.1:0: BindToDevice: setsockopt: no such device")
}

// The options that can change on a connection do, and what is wrong is told as by Listen.
func TestConnOptions(t *testing.T) {
	t.Parallel()
	accept, refs := accepted(&hooks{})
	s := transport{"tcp", 1}.serve(t, accept, nil)
	cl := s.dial()
	ref := receive(t, refs)
	do(t, ref, func(c *reactor.Conn) {
		check := func(o socketOption, want int) {
			t.Helper()
			require.Equal(t, want, o.of(t, c.FD()))
		}
		require.NoError(t, c.SetNoDelay(false))
		check(noDelay, 0)
		require.NoError(t, c.SetNoDelay(true))
		check(noDelay, 1)
		require.NoError(t, c.SetKeepAlive(time.Minute, 2*time.Second, 3))
		check(keepIdle, 60)
		check(keepInterval, 2)
		check(keepCount, 3)
		require.NoError(t, c.SetKeepAlive(-1, 0, 0))
		check(keepAlive, 0)
		require.NoError(t, c.SetKeepAlive(0, 0, 0))
		check(keepAlive, 1)
		check(keepIdle, 15)
		require.NoError(t, c.SetUserTimeout(time.Second))
		check(userTimeout, 1000)
		require.NoError(t, c.SetUserTimeout(-1))
		check(userTimeout, 0)
		require.NoError(t, c.SetSendBuffer(30<<10))
		check(sendBuffer, 60<<10)
		require.NoError(t, c.SetRecvBuffer(30<<10))
		check(recvBuffer, 60<<10)

		require.EqualError(t, c.SetUserTimeout(-time.Second), "reactor: UserTimeout is -1s, must be positive, 0 for the default or -1 for none")
		require.EqualError(t, c.SetSendBuffer(0), "reactor: SendBuffer is 0, must be 1 to 1073741824")
		require.EqualError(t, c.SetRecvBuffer(-1), "reactor: RecvBuffer is -1, must be 1 to 1073741824")
		require.EqualError(t, c.SetSendBuffer(1<<30+1), "reactor: SendBuffer is 1073741825, must be 1 to 1073741824")
		require.EqualError(t, c.SetKeepAlive(time.Minute, 0, 128), "reactor: KeepAliveCount is 128, must be 0 to 127")
		check(keepIdle, 15) // nothing was set
		_ = c.Close()
	})
	cl.expectEOF()
	do1(t, ref, func(c *reactor.Conn, _ error) {
		require.ErrorIs(t, c.SetNoDelay(true), net.ErrClosed)
	})

	uw, unixRefs := accepted(&hooks{})
	us := transport{"unix", 1}.serve(t, uw, nil)
	us.dial()
	do(t, receive(t, unixRefs), func(c *reactor.Conn) {
		require.ErrorIs(t, c.SetNoDelay(true), errors.ErrUnsupported) // EOPNOTSUPP
		require.ErrorContains(t, c.SetUserTimeout(1), "UserTimeout: setsockopt")
		require.ErrorIs(t, c.SetRecvBuffer(1), errors.ErrUnsupported)
		require.NoError(t, c.SetSendBuffer(30<<10))
		require.Equal(t, 60<<10, sendBuffer.of(t, c.FD()))
	})
}
