// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package load

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An Endpoint is where a server listens.
type Endpoint struct {
	Network string // tcp, udp or unix
	Address string // 127.0.0.1:1060, or a path
}

// String returns the endpoint as a URL.
func (e Endpoint) String() string { return e.Network + "://" + e.Address }

// perSource is how many connections leave from one address of 127.0.0.0/8: well below the number of ports a kernel
// gives to clients.
const perSource = 5000

// connectTime bounds how long a connection may take to come about.
const connectTime = 10 * time.Second

// source returns the address from which the i-th connection leaves: 127.0.0.2 for the first 5,000, then 127.0.0.3 and
// so on.
func source(i int) [4]byte {
	n := i/perSource + 2
	return [4]byte{127, byte(n >> 16), byte(n >> 8), byte(n)}
}

// A target is an endpoint ready for connecting.
type target struct {
	endpoint Endpoint
	family   int
	kind     int
	address  unix.Sockaddr
	spread   bool // sources over 127.0.0.0/8
}

func newTarget(e Endpoint) (*target, error) {
	t := &target{endpoint: e, family: unix.AF_INET, kind: unix.SOCK_STREAM}
	switch e.Network {
	case "unix":
		t.family, t.address = unix.AF_UNIX, &unix.SockaddrUnix{Name: e.Address}
		return t, nil
	case "udp":
		t.kind = unix.SOCK_DGRAM
	}
	a, err := netip.ParseAddrPort(e.Address)
	if err != nil || !a.Addr().Is4() {
		return nil, fmt.Errorf("load: %s is not an IPv4 address and port", e)
	}
	t.address, t.spread = &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}, a.Addr().IsLoopback()
	return t, nil
}

// begin makes the i-th socket and begins to connect it. ready says that it is connected already.
func (t *target) begin(i int) (fd int, ready bool, err error) {
	fd, err = newSocket(t.family, t.kind)
	if err != nil {
		return -1, false, os.NewSyscallError("socket", err)
	}
	if t.spread {
		if err = os.NewSyscallError("bind", bindSource(fd, source(i))); err != nil {
			unix.Close(fd)
			return -1, false, err
		}
	}
	if t.family == unix.AF_INET && t.kind == unix.SOCK_STREAM {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // a full pipe of requests needs no help either
	}
	switch err = unix.Connect(fd, t.address); {
	case err == nil:
		return fd, true, nil
	case errors.Is(err, unix.EINPROGRESS):
		return fd, false, nil
	}
	unix.Close(fd)
	return -1, false, os.NewSyscallError("connect", err)
}

// connect makes the i-th connection and waits for it.
func (t *target) connect(i int) (int, error) {
	for end := time.Now().Add(connectTime); ; {
		fd, ready, err := t.begin(i)
		// EAGAIN is how unix sockets say that the backlog is full.
		if errors.Is(err, unix.EAGAIN) && time.Now().Before(end) {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil || ready {
			return fd, err
		}
		if err = connected(fd, time.Until(end)); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("connect", err)
		}
		return fd, nil
	}
}

// connected waits until a connection has come about or failed.
func connected(fd int, d time.Duration) error {
	for end := time.Now().Add(d); ; {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, milliseconds(max(time.Until(end), 0)))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return unix.ETIMEDOUT
		}
		return socketError(fd)
	}
}

func socketError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && n != 0 {
		err = unix.Errno(n)
	}
	return err
}
