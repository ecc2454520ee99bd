// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"github.com/panjf2000/gnet/v2/pkg/socket"
	"golang.org/x/sys/unix"
)

// maxBacklog bounds what Shutdown accepts from a backlog; the kernel's own bound is smaller.
const maxBacklog = 1 << 16

// A Listener is an address that the reactor serves, with one socket or one for each loop. Its methods may be called
// from any goroutine.
type Listener struct {
	origin
	reactor *Reactor
	local   netip.AddrPort // of addr, for streams and datagrams over IP
	file    *socketFile    // of a unix listener with a path
	unlink  atomic.Bool    // file is to be removed with the listener
	grant   PacketGrant    // of datagram sockets

	stops, waits, refusals spell // of accepting

	mu       sync.Mutex // held while a socket is closed, and while Files looks at them
	sockets  []source
	loops    []*loop // of each socket
	open     atomic.Int32
	closed   chan struct{} // closed with the last socket
	shutOnce sync.Once
}

// An origin is what connections that came to be in one way have in common.
type origin struct {
	network string
	addr    net.Addr
	accept  AcceptFunc
	opts    *StreamOptions
	dialled bool    // dialled or adopted: does not count under MaxConns
	limits  *limits // nil without MaxPerPeer and AcceptRate

	datagrams bool // they are peers, see packet_peer.go
}

// String returns the network and the address.
func (o *origin) String() string { return o.network + " " + o.addr.String() }

// Listen serves stream connections on an address. The network is tcp, tcp4, tcp6 or unix; host names resolve, IPv4
// first, while the caller waits, which no handler should; an empty host means all interfaces (with tcp those of IPv4
// and IPv6, by one socket, as does [::]; 0.0.0.0 means IPv4 alone, unlike in package net), port 0 one that the system
// chooses, see Addr. What waits at a unix path is replaced if it is a socket that nobody serves; anything else there is
// left as it is and the path is in use.
//
// It may be called before Serve, when the backlog holds who connects, and at any time until Shutdown, after which it
// returns net.ErrClosed. accept is called for each connection. nil options are the defaults. Errors are *net.OpError.
func (r *Reactor) Listen(network, address string, accept AcceptFunc, o *StreamOptions) (*Listener, error) {
	if accept == nil {
		return nil, errors.New("reactor: Listen without an accept func")
	}
	opts, err := o.resolve()
	if err != nil {
		return nil, err
	}
	lis := newStreamListener(r, network, accept, opts)
	switch network {
	case "tcp", "tcp4", "tcp6":
		err = lis.listenTCP(address)
	case "unix":
		err = lis.listenUnix(address)
	default:
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, listenError(network, address, err)
	}
	if err := lis.start(); err != nil {
		return nil, listenError(network, address, err)
	}
	return lis, nil
}

func newStreamListener(r *Reactor, network string, accept AcceptFunc, opts *StreamOptions) *Listener {
	return &Listener{
		origin:  origin{network: network, accept: accept, opts: opts, limits: newLimits(opts)},
		reactor: r, closed: make(chan struct{}),
	}
}

// listenError wraps err as net.Listen does.
func listenError(network, address string, err error) error {
	return &net.OpError{Op: "listen", Net: network, Addr: nameAddr{network, address}, Err: err}
}

// nameAddr is an address as it was given.
type nameAddr struct{ network, name string }

func (a nameAddr) Network() string { return a.network }
func (a nameAddr) String() string  { return a.name }

// Addr returns the address that the listener has, with the real port.
func (lis *Listener) Addr() net.Addr { return lis.addr }

// String returns the network and the address.
func (lis *Listener) String() string { return lis.origin.String() }

// Close stops listening. Connections that were accepted go on; who waits in the backlog is reset, unless another process
// has the sockets too, see HandOver. It returns when the sockets are closed, but for a call on a loop, which does not
// wait. Closing twice is closing once.
func (lis *Listener) Close() error {
	r := lis.reactor
	lis.shutOnce.Do(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.listening.remove(lis)
		for i, s := range lis.sockets {
			if r.started {
				_ = lis.loops[i].postLoop(s.closeFD)
			} else {
				s.closeFD() // there is no loop yet to disturb
			}
		}
	})
	if !r.onLoop() {
		<-lis.closed
	}
	return nil
}

func (lis *Listener) isUnix() bool { return lis.network == "unix" }

// listenTCP binds one socket, or one for each loop.
func (lis *Listener) listenTCP(address string) error {
	r := lis.reactor
	fd, err := lis.listenFD(lis.network, bindable(address), false)
	if err != nil {
		return err
	}
	lis.add(r.loops[0], fd)
	sa, err := unix.Getsockname(fd)
	if err != nil {
		lis.abandon()
		return os.NewSyscallError("getsockname", err)
	}
	lis.local = addrPortOf(sa)
	lis.addr = net.TCPAddrFromAddrPort(namedPort(lis.local))
	if !lis.opts.ReusePort {
		return nil
	}
	// The first was bound without SO_REUSEPORT, so that a port in use is told; its siblings need it on all of them.
	if err := socket.SetReuseport(fd, 1); err != nil {
		lis.abandon()
		return err
	}
	network := "tcp4"
	if _, v6 := sa.(*unix.SockaddrInet6); v6 {
		network = lis.network
	}
	for _, l := range r.loops[1:] {
		fd, err := lis.listenFD(network, lis.addr.String(), true)
		if err != nil {
			lis.abandon()
			return err
		}
		lis.add(l, fd)
	}
	return nil
}

// listenFD makes one listening socket.
func (lis *Listener) listenFD(network, address string, reusePort bool) (int, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return -1, err
	}
	options := append(lis.opts.listenOptions(), lis.opts.tcpOptions()...)
	if reusePort {
		options = append(options, socket.Option[int]{SetSockOpt: socket.SetReuseport, Opt: 1})
	}
	fd, err := bindBothFamilies(network, host, func(network string, v6 []socket.Option[int]) (int, error) {
		fd, _, err := socket.TCPSocket(network, address, true, append(v6, options...), nil)
		return fd, err
	})
	if err != nil {
		return -1, err
	}
	if backlog := lis.opts.Backlog; backlog > 0 {
		if err := unix.Listen(fd, backlog); err != nil {
			_ = unix.Close(fd)
			return -1, os.NewSyscallError("listen", err)
		}
	}
	return fd, nil
}

// bindBothFamilies calls bind with the network and the IPV6_V6ONLY option that package net would use: gnet leaves the
// option on for "[::]", and knows no way around a kernel without IPv6.
func bindBothFamilies(network, host string, bind func(network string, v6 []socket.Option[int]) (int, error)) (int, error) {
	family := network[len(network)-1]
	ip, err := netip.ParseAddr(host)
	wildcard := host == "" || err == nil && ip == netip.IPv6Unspecified()
	if family == '4' || family == '6' || !wildcard {
		return bind(network, nil)
	}
	fd, err := bind(network, []socket.Option[int]{{SetSockOpt: socket.SetIPv6Only, Opt: 0}})
	if host == "" && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
		return bind(network+"4", nil)
	}
	return fd, err
}

// listenUnix binds a path.
func (lis *Listener) listenUnix(path string) error {
	if err := lis.opts.checkUnixListener(); err != nil {
		return err
	}
	fd, file, err := bindUnix(path)
	if err != nil {
		return err
	}
	if lis.opts.Backlog > 0 {
		if err := unix.Listen(fd, lis.opts.Backlog); err != nil {
			_ = unix.Close(fd)
			file.remove()
			return os.NewSyscallError("listen", err)
		}
	}
	lis.addr = &net.UnixAddr{Name: path, Net: "unix"}
	lis.file = file
	lis.unlink.Store(true)
	lis.add(lis.reactor.loops[0], fd)
	return nil
}

// add makes fd one of the listener's sockets.
func (lis *Listener) add(l *loop, fd int) {
	lis.sockets = append(lis.sockets, &acceptor{loop: l, listener: lis, fd: fd})
	lis.loops = append(lis.loops, l)
}

// abandon closes the sockets of a listener that could not be completed.
func (lis *Listener) abandon() {
	for _, s := range lis.sockets {
		_ = unix.Close(s.descriptor())
	}
}

// start hands the sockets to their loops.
func (lis *Listener) start() error {
	r := lis.reactor
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		lis.abandon()
		lis.removeFile()
		return net.ErrClosed
	}
	if _, dial := lis.sockets[0].(*packetDial); !dial {
		r.listening.add(lis)
	}
	lis.open.Store(int32(len(lis.sockets)))
	r.acceptors.Add(int32(len(lis.sockets)))
	for i, s := range lis.sockets {
		_ = lis.loops[i].postLoop(s.open)
	}
	return nil
}

// closeSocket closes one of the listener's sockets, and the listener with the last. On the socket's loop only.
func (lis *Listener) closeSocket(fd *int) {
	lis.mu.Lock()
	closeSocket(*fd)
	*fd = -1
	lis.mu.Unlock()
	lis.socketClosed()
}

// socketClosed counts a socket of the listener out.
func (lis *Listener) socketClosed() {
	r := lis.reactor
	if lis.open.Add(-1) == 0 {
		lis.removeFile()
		close(lis.closed)
	}
	if r.acceptors.Add(-1) == 0 {
		for _, l := range r.loops {
			l.wake() // the last that a draining loop may have waited for
		}
	}
}

// removeFile removes the socket's file, if it is the listener's to remove.
func (lis *Listener) removeFile() {
	if lis.unlink.Load() {
		lis.file.remove()
	}
}
