// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/panjf2000/gnet/v2/pkg/socket"
	"golang.org/x/sys/unix"
)

// A PacketHandler reacts to the datagrams of a packet listener. It is called on the loop of the socket that
// received them, one call at a time for each socket; a listener has a socket on every loop, so with several loops
// calls run at the same time.
//
// A panic is logged and costs that call alone: what it had sent leaves, and the socket goes on with the next
// datagram.
type PacketHandler interface {
	// Datagram is called for each datagram, empty ones included. d and its Payload are valid until it returns.
	Datagram(s *PacketConn, d *Datagram)
}

// PacketFunc makes a PacketHandler of a function.
type PacketFunc func(s *PacketConn, d *Datagram)

// Datagram calls f.
func (f PacketFunc) Datagram(s *PacketConn, d *Datagram) { f(s, d) }

// A SendErrorHandler is a PacketHandler that wants to hear of datagrams which could not be sent after Reply or
// Send had returned nil and, on a socket of DialPacket, of those that the network says did not arrive.
type SendErrorHandler interface {
	// SendError is called between calls of Datagram, at most 64 times after each; PacketStats counts all failures.
	// err is a *net.OpError: with Op "write" if the datagram could not be sent, with Op "read" for what an ICMP
	// message said of some datagram sent before, ECONNREFUSED say (udp(7)). What SendError itself sends fails
	// unheard, but counted.
	SendError(s *PacketConn, to netip.AddrPort, err error)
}

// A PacketCloseHandler is a PacketHandler that wants to hear of the end of a socket of DialPacket.
type PacketCloseHandler interface {
	// Close is called once, last: with nil after PacketConn.Close and Ref.Close, with what Conn.CloseWithError was given
	// or ErrAborted after Conn.Abort, with ErrShutdown when Shutdown or Reactor.Close ended the socket; in an
	// *UnsentError if a datagram that Ref.Write had queued was lost.
	Close(s *PacketConn, err error)
}

// A Datagram is what one call of a PacketHandler is about. The value and Payload belong to the loop again when the
// call returns; until then Payload may be changed and appended to.
type Datagram struct {
	// Payload is what arrived: 0 to 65,507 bytes from IPv4 and to 65,527 from IPv6, at most MaxDatagram.
	Payload []byte

	// From is the sender; IPv4 addresses are never in their IPv6 form.
	From netip.AddrPort

	// To is the address that the sender asked for, with the socket's port. On a socket of all interfaces this is
	// told by the kernel, on Linux; elsewhere the address is unspecified there.
	To netip.AddrPort

	// IfIndex is the number of the interface by which the datagram came, known on Linux on a socket of all
	// interfaces; else 0.
	IfIndex int

	// Truncated says that Payload is only the first MaxDatagram bytes of a longer datagram.
	Truncated bool

	conn    *PacketConn
	source  netip.Addr // where an answer leaves from; invalid lets the kernel choose
	segment int        // bytes of each datagram that Payload holds, of several received as one; else 0
}

// Reply sends p to From as Send does, from the address that was asked; if that was a multicast or broadcast
// address, from one of the machine's.
func (d *Datagram) Reply(p []byte) error { return d.conn.send(p, d.source, d.From) }

// A PacketConn is one socket of a packet listener, or that of DialPacket. It never leaves its loop: its methods may
// be called in the handlers that run there. For other goroutines DialPacket's has a Ref.
type PacketConn struct {
	loop     *loop
	listener *Listener
	handler  PacketHandler
	failed   SendErrorHandler // handler, if it is one; or nil
	opts     PacketOptions
	local    netip.AddrPort
	peer     *peer // of DialPacket; nil for a listener's
	sessions sessionList
	fd       int // -1 once closed
	family   family
	raw      bool // it does not speak UDP
	watched  interest
	closing  bool       // Close was called
	ending   bool       // to be closed once queue is empty
	queue    *sendQueue // what the kernel had no room for; nil if nothing
	grant    PacketGrant
	stats    PacketStats
	drops    uint32 // the kernel's count, as last told
	timers   *Timer // the first of those pending
}

// A family says which addresses a socket sends to.
type family uint8

const (
	familyIPv4 family = iota
	familyIPv6
	familyBoth // an IPv6 socket that speaks IPv4 too
)

// PacketStats are the counters of one PacketConn since it was bound.
type PacketStats struct {
	Received  uint64 `json:"received"`  // datagrams delivered
	Truncated uint64 `json:"truncated"` // of these, longer than MaxDatagram
	Sent      uint64 `json:"sent"`      // datagrams that the kernel took
	Unsent    uint64 `json:"unsent"`    // datagrams that Reply or Send took and the kernel did not

	// Dropped is how many datagrams the kernel discarded for lack of room in the receive buffer, see
	// PacketOptions.RecvBuffer. Linux tells it with the next datagram that is queued after them (SO_RXQ_OVFL,
	// socket(7)); other systems do not.
	Dropped uint64 `json:"dropped"`

	// Refused counts the datagrams, of those delivered to Sessions, that began no session: at MaxSessions, or because its
	// function returned an error.
	Refused uint64 `json:"refused"`

	// ReceiveErrors counts what ICMP messages said, and other failures to receive; the socket goes on.
	ReceiveErrors uint64 `json:"receive_errors"`
}

// ListenPacket serves datagrams on an address. The network is udp, udp4 or udp6; the address is that of Listen.
// The listener has a socket on each loop, between which the kernel spreads the clients by their addresses
// (SO_REUSEPORT, socket(7)); all are bound before a datagram is read. On systems other than Linux, whose kernels
// do not spread, it has one. Addr is a *net.UDPAddr.
//
// It may be called before Serve, when the sockets hold what comes, and at any time until Shutdown, which has what
// waits served and the answers sent. nil options are the defaults. Errors are *net.OpError.
func (r *Reactor) ListenPacket(network, address string, h PacketHandler, o *PacketOptions) (*Listener, error) {
	if h == nil {
		return nil, errors.New("reactor: ListenPacket without a handler")
	}
	opts, err := o.resolveFor(h)
	if err != nil {
		return nil, err
	}
	lis := newPacketListener(r, network, nil)
	switch network {
	case "udp", "udp4", "udp6":
		err = lis.listenUDP(address, h, opts)
	default:
		err = net.UnknownNetworkError(network)
	}
	if err == nil {
		err = lis.start()
	}
	if err != nil {
		return nil, listenError(network, address, err)
	}
	return lis, nil
}

// faultOf says why a handler, that a function may have made, is none.
func faultOf(h PacketHandler) error {
	if h == nil {
		return errors.New("reactor: the function returned neither handler nor error")
	}
	if h, ok := h.(*sessions); ok {
		return h.err
	}
	return nil
}

// resolveFor is resolve for a listener with that handler.
func (o *PacketOptions) resolveFor(h PacketHandler) (PacketOptions, error) {
	opts, err := o.resolve()
	if err == nil {
		err = faultOf(h)
	}
	if err == nil && opts.Local != (netip.AddrPort{}) {
		err = fmt.Errorf("reactor: Local is %v, must be the zero value for ListenPacket", opts.Local)
	}
	return opts, err
}

func newPacketListener(r *Reactor, network string, addr net.Addr) *Listener {
	return &Listener{
		origin:  origin{network: network, addr: addr, opts: datagramLimits, datagrams: true},
		reactor: r, closed: make(chan struct{}),
	}
}

// listenUDP binds a socket for each loop. The first is bound without SO_REUSEPORT, so that a port in use is told;
// the others need it on all of them.
func (lis *Listener) listenUDP(address string, h PacketHandler, opts PacketOptions) error {
	loops := lis.reactor.loops
	if !reusePortSpreads {
		loops = loops[:1]
	}
	network, address := lis.network, bindable(address)
	for i, l := range loops {
		s, err := lis.bindUDP(network, address, opts, i > 0)
		if err != nil {
			lis.abandon()
			return err
		}
		lis.addPacketConn(l, s, h)
		if i > 0 {
			continue
		}
		lis.local = s.local
		lis.addr = net.UDPAddrFromAddrPort(namedPort(s.local))
		address = lis.addr.String()
		if s.family == familyIPv4 {
			network = "udp4" // "udp" may have had to do without IPv6
		}
		if len(loops) > 1 {
			if err := socket.SetReuseport(s.fd, 1); err != nil {
				lis.abandon()
				return err
			}
		}
	}
	return nil
}

// addPacketConn makes s one of the listener's sockets.
func (lis *Listener) addPacketConn(l *loop, s *PacketConn, h PacketHandler) {
	s.loop = l
	s.handle(h)
	lis.grant = s.grant
	lis.sockets = append(lis.sockets, s)
	lis.loops = append(lis.loops, l)
}

// bindUDP makes one socket.
func (lis *Listener) bindUDP(network, address string, opts PacketOptions, reusePort bool) (*PacketConn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	options := opts.socketOptions()
	if reusePort {
		options = append(options, socket.Option[int]{SetSockOpt: socket.SetReuseport, Opt: 1})
	}
	fd, err := bindBothFamilies(network, host, func(network string, v6 []socket.Option[int]) (int, error) {
		fd, _, err := socket.UDPSocket(network, address, false, append(v6, options...), nil)
		return fd, err
	})
	if err != nil {
		return nil, err
	}
	s, err := lis.newPacketConn(fd, opts)
	if err != nil {
		_ = unix.Close(fd)
	}
	return s, err
}

// newPacketConn makes a bound socket ready to be served.
func (lis *Listener) newPacketConn(fd int, opts PacketOptions) (*PacketConn, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	s := &PacketConn{listener: lis, opts: opts, fd: fd, local: addrPortOf(sa), raw: !speaksUDP(fd)}
	all := s.local.Addr().IsUnspecified()
	if _, v6 := sa.(*unix.SockaddrInet6); v6 {
		s.family = familyIPv6
		if only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err == nil && only == 0 && all {
			s.family = familyBoth
		}
	}
	err = wantControl(fd, s.family, all)
	if err == nil {
		err = opts.setMulticast(fd, s.family)
	}
	if err == nil {
		s.grant.GRO, s.grant.GSO = wantOffload(fd, opts.GRO, opts.GSO)
		s.grant.RecvBuffer, s.grant.SendBuffer, err = s.buffers()
	}
	return s, err
}

// socketOptions are what the options ask of a socket.
func (o *PacketOptions) socketOptions() (options []socket.Option[int]) {
	set := func(option func(fd, value int) error, value int) {
		options = append(options, socket.Option[int]{SetSockOpt: option, Opt: value})
	}
	if o.Broadcast {
		set(setBroadcast, 1)
	} else {
		set(setBroadcast, 0) // gnet turns it on
	}
	if o.RecvBuffer > 0 {
		set(socket.SetRecvBuffer, o.RecvBuffer)
	}
	if o.SendBuffer > 0 {
		set(socket.SetSendBuffer, o.SendBuffer)
	}
	return options
}

// handle makes h the socket's handler, unless it is none.
func (s *PacketConn) handle(h PacketHandler) {
	if err := faultOf(h); err != nil {
		s.loop.r.opts.Logger.Error(err.Error(), "socket", s.listener.String())
		return
	}
	s.handler = h
	s.failed, _ = h.(SendErrorHandler)
}

func setBroadcast(fd, value int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, value))
}

// LocalAddr returns the address that the socket is bound to; unspecified for all interfaces.
func (s *PacketConn) LocalAddr() netip.AddrPort { return s.local }

// RemoteAddr returns the address that DialPacket connected to; the zero value on a listener's socket.
func (s *PacketConn) RemoteAddr() netip.AddrPort {
	if s.peer == nil {
		return netip.AddrPort{}
	}
	return s.peer.conn.tuple.Remote
}

// Ref returns the handle of a socket of DialPacket for other goroutines: Ref.Write sends one datagram, Ref.Close is
// Close. Of a listener's socket it is the zero value.
func (s *PacketConn) Ref() Ref {
	if s.peer == nil {
		return Ref{}
	}
	return Ref{&s.peer.conn}
}

// Close closes a socket of DialPacket: what was sent leaves, nothing is delivered any more, and PacketCloseHandler's
// Close follows after the running method has returned. On a listener's socket it is Listener.Close.
func (s *PacketConn) Close() error {
	s.assertOnLoop()
	return s.close(nil)
}

// close is Close with a cause.
func (s *PacketConn) close(cause error) error {
	switch {
	case s.fd < 0 || s.closing:
		return net.ErrClosed
	case s.peer == nil:
		return s.listener.Close()
	}
	s.closing, s.peer.rare.cause = true, cause
	s.peer.conn.cancelContext()
	return s.loop.postLoop(s.finish)
}

// Stats returns the socket's counters.
func (s *PacketConn) Stats() PacketStats {
	s.assertOnLoop()
	return s.stats
}

// Buffers returns the sizes of the kernel's buffers of the socket in bytes, as the kernel counts: Linux grants
// twice what was asked for, up to its own limits, and counts its bookkeeping in (socket(7)).
func (s *PacketConn) Buffers() (receive, send int, err error) {
	s.assertOnLoop()
	if s.fd < 0 {
		return 0, 0, net.ErrClosed
	}
	return s.buffers()
}

func (s *PacketConn) buffers() (receive, send int, err error) {
	if receive, err = unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
		send, err = unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	}
	return receive, send, os.NewSyscallError("getsockopt", err)
}

// Granted returns what the system granted when the socket was made. GSO is false, too, once a device has refused it.
func (s *PacketConn) Granted() PacketGrant {
	s.assertOnLoop()
	return s.grant
}

// Granted returns what the system granted each socket of a listener of datagrams, the zero value for streams. Any
// goroutine may call it.
func (lis *Listener) Granted() PacketGrant { return lis.grant }

// Send sends p to an address, from one of the machine's (its port is ignored, it is always the socket's); the zero
// value or an unspecified address lets the kernel choose. p is not kept and Send never blocks.
//
// While the handler of s runs, what it sends gathers. It leaves when the datagrams that came together are handled,
// or before that when it passes 64 datagrams or 128 KiB. nil means taken then, no more: what the kernel refuses is
// lost, and SendErrorHandler and PacketStats tell; what it refuses for want of room in its send buffer is kept under
// PacketOptions.MaxQueued. Called elsewhere on the loop, Send sends at once and returns what the kernel says.
//
// An error is a *net.OpError: EMSGSIZE for more than the 65,507 bytes of UDP that IPv4 carries or the 65,527 of IPv6,
// EAFNOSUPPORT for an address that the socket does not speak, EDESTADDRREQ for none, all of them at once;
// EISCONN on a socket of DialPacket for another address than RemoteAddr, net.ErrClosed after Close. At MaxQueued it is
// ErrOverflow itself.
func (s *PacketConn) Send(p []byte, from, to netip.AddrPort) error {
	return s.send(p, from.Addr(), to)
}

// Write sends one datagram to RemoteAddr, on a socket of DialPacket, as Send does. The count is len(p) or 0.
func (s *PacketConn) Write(p []byte) (int, error) {
	if err := s.send(p, netip.Addr{}, s.RemoteAddr()); err != nil {
		return 0, err
	}
	return len(p), nil
}
