// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// SyscallConn reaches the descriptor, in the accept func too and until the connection ends; it neither reads nor writes.
func TestSyscallConn(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		kind := func(c *reactor.Conn) (kind int) {
			raw, err := c.SyscallConn()
			require.NoError(t, err)
			require.NoError(t, raw.Control(func(fd uintptr) {
				require.Equal(t, c.FD(), int(fd))
				kind, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
			}))
			require.NoError(t, err)
			return kind
		}
		inAccept := 0
		w := watch(t, &hooks{close: func(c *reactor.Conn, _ error) {
			if _, err := c.SyscallConn(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("SyscallConn in Close: %v", err)
			}
		}})
		s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
			inAccept = kind(c)
			return w.accept(c)
		}, nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		var raw syscall.RawConn
		do(t, ref, func(c *reactor.Conn) {
			require.Equal(t, unix.SOCK_STREAM, inAccept)
			require.Equal(t, unix.SOCK_STREAM, kind(c))
			raw, _ = c.SyscallConn()
			never := func(uintptr) bool { t.Error("called"); return true }
			require.ErrorIs(t, raw.Read(never), errors.ErrUnsupported)
			require.ErrorIs(t, raw.Write(never), errors.ErrUnsupported)
			require.EqualError(t, raw.Read(never), "reactor: RawConn.Read: the loop reads and writes: unsupported operation")
			_ = c.Close()
		})
		cl.expectEOF()
		require.NoError(t, receive(t, w.ends))
		do1(t, ref, func(c *reactor.Conn, _ error) {
			require.ErrorIs(t, raw.Control(func(uintptr) { t.Error("called") }), net.ErrClosed)
			_, err := c.SyscallConn()
			require.ErrorIs(t, err, net.ErrClosed)
		})
	})
}
