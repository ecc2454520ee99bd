// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package reactor_test

import (
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Without descriptors a dial fails, and nothing else does; a connection that only lingers gives up its own.
func TestDialOutOfDescriptors(t *testing.T) {
	t.Parallel()
	atOnce(t, []string{"tcp", "unix"}, func(t *testing.T, network string) {
		if !inChild(t) {
			return
		}
		w := watch(t, reactor.DataFunc(echo))
		s := transport{network, 1}.serve(t, w.accept, nil)
		behind, err := net.Listen(network, transport{network: network}.address(t))
		require.NoError(t, err)
		defer behind.Close()
		address := behind.Addr().String()
		existing, leaving := s.dial(), s.dial()
		for _, cl := range []client{existing, leaving} {
			cl.send("hello")
			cl.expect("hello")
		}
		receive(t, w.refs)
		last := receive(t, w.refs)
		h := hoardDescriptors(t)
		for range 2 {
			d := s.dialWith(t.Context(), network, address, nil)
			requireDialError(t, d.err, network, address)
			require.ErrorIs(t, d.err, unix.EMFILE)
		}
		conn := leaving.halfCloser.(net.Conn)
		require.ErrorIs(t, s.Adopt(conn, func(*reactor.Conn, error) (reactor.Handler, error) { panic("not adopted") }, nil), unix.EMFILE)
		existing.send("still there?")
		existing.expect("still there?")

		require.NoError(t, last.Close())
		receive(t, w.ends)
		leaving.expectEOF() // it lingers, for we do not close
		require.NoError(t, s.dialWith(t.Context(), network, address, nil).err)

		h.takeAll()
		h.free(1)
		require.NoError(t, s.dialWith(t.Context(), network, address, nil).err)
	})
}

// Who asks for a port that the system chooses for him meets himself; that is nobody.
func TestDialSelf(t *testing.T) {
	t.Parallel()
	const port = 40000
	if os.Geteuid() != 0 {
		t.Skip("needs a network of its own, that is root")
	}
	if !inChildWith(t, &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}) {
		return
	}
	raiseLoopback(t)
	ports := strconv.Itoa(port) + " " + strconv.Itoa(port)
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte(ports), 0); err != nil {
		t.Skip("no sysctls of our own: ", err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))

	s := start(t, reactor.Options{Loops: 1})
	d := s.dialWith(t.Context(), "tcp", address, nil)
	requireDialError(t, d.err, "tcp", address)
	require.ErrorIs(t, d.err, unix.ECONNREFUSED)

	lis, err := net.Listen("tcp", address)
	require.NoError(t, err)
	defer lis.Close()
	d = s.dialWith(t.Context(), "tcp", address, nil)
	require.ErrorIs(t, d.err, unix.EADDRNOTAVAIL, "there is no other port to come from")
}

// raiseLoopback gives a new network its loopback interface.
func raiseLoopback(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	require.NoError(t, err)
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	require.NoError(t, unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
}
