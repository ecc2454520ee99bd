// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/panjf2000/gnet/v2/pkg/socket"
	"golang.org/x/sys/unix"
)

// maxResolve bounds how long DialPacket waits for the addresses of a name.
const maxResolve = 30 * time.Second

// A DialedPacketFunc is told what came of DialPacket, on the socket's loop. With a nil error it makes the socket's
// handler and may send already; an error of its own closes the socket, silently. Otherwise s is nil, err is why there
// is no socket, and what it returns is ignored.
type DialedPacketFunc func(s *PacketConn, err error) (PacketHandler, error)

// DialPacket connects a datagram socket to an address. The network is udp, udp4 or udp6; host names resolve, IPv4
// first, off the loops and within 30 s; an empty or unspecified host is this machine. The socket receives from that
// address alone, and connecting sends nothing: whether anybody is there, answers tell, or SendErrorHandler. It goes to
// the loop with the fewest connections. Shutdown has what waits in it served and closes it.
//
// DialPacket blocks nowhere and may be called on a loop. nil means that dialed is called exactly once, on a loop, also
// if Shutdown comes first (net.ErrClosed); before Serve it is when the loops run. Options.MaxDials holds, with
// ErrDialLimit. nil options are the defaults. Errors, those that dialed gets too, are *net.OpError, or say which option
// is wrong.
func (r *Reactor) DialPacket(network, address string, dialed DialedPacketFunc, o *PacketOptions) error {
	if dialed == nil {
		return errors.New("reactor: DialPacket without a function")
	}
	opts, err := o.resolve()
	if err != nil {
		return err
	}
	l := r.loops[0].leastLoaded()
	d := &packetDial{loop: l, opts: opts, dialed: dialed, listener: newPacketListener(r, network, nameAddr{network, address})}
	switch network {
	case "udp", "udp4", "udp6":
		d.host, d.port, err = net.SplitHostPort(address)
	default:
		err = net.UnknownNetworkError(network)
	}
	if err == nil && r.dials.Add(1) > int64(r.opts.MaxDials) {
		r.dials.Add(-1)
		err = ErrDialLimit
	}
	if err == nil {
		d.listener.sockets, d.listener.loops = []source{d}, []*loop{l}
		l.load.Add(1)
		if err = d.listener.start(); err != nil {
			l.load.Add(-1)
			r.dials.Add(-1)
		}
	}
	if err != nil {
		return d.error(err)
	}
	return nil
}

// A packetDial is a socket of DialPacket that is not there yet. It is a source of its loop while its name resolves.
type packetDial struct {
	loop       *loop
	listener   *Listener // that the socket will have; nobody else knows it
	opts       PacketOptions
	dialed     DialedPacketFunc
	host, port string
	ctx        context.Context // of resolving
	cancel     context.CancelFunc
}

func (d *packetDial) descriptor() int { return -1 }
func (d *packetDial) ready()          {}
func (d *packetDial) retry()          {}
func (d *packetDial) due() int64      { return 0 }
func (d *packetDial) drain()          { d.closeFD() }

// closeFD gives up; resolved follows.
func (d *packetDial) closeFD() {
	if d.loop.removeSource(d) {
		d.cancel()
	}
}

// open connects at once if no name has to be resolved.
func (d *packetDial) open() {
	if to, ok := d.literal(); ok || d.loop.draining {
		d.resolved([]netip.AddrPort{to}, nil)
		return
	}
	d.ctx, d.cancel = context.WithTimeout(context.Background(), maxResolve)
	d.loop.sources = append(d.loop.sources, d)
	d.loop.r.resolver.add(d)
}

// resolve is called by the resolver.
func (d *packetDial) resolve() {
	to, err := d.lookup()
	d.cancel()
	if d.loop.postLoop(func() { d.resolved(to, err) }) != nil {
		_, _ = d.dialed(nil, d.error(net.ErrClosed)) // the poller failed and the loop is gone
	}
}

// literal returns the address if it needs no resolving.
func (d *packetDial) literal() (to netip.AddrPort, ok bool) {
	port, err := strconv.ParseUint(d.port, 10, 16)
	if err != nil {
		return to, false
	}
	host := loopback(d.listener.network[len("udp"):])
	if d.host != "" {
		if host, err = netip.ParseAddr(d.host); err != nil {
			return to, false
		}
	}
	return netip.AddrPortFrom(host.Unmap(), uint16(port)), true
}

// lookup asks for the addresses of a name, IPv4 first.
func (d *packetDial) lookup() (to []netip.AddrPort, err error) {
	names := cancellable(net.DefaultResolver)
	port, err := names.LookupPort(d.ctx, d.listener.network, d.port)
	if err != nil {
		return nil, err
	}
	if d.host == "" {
		return []netip.AddrPort{netip.AddrPortFrom(loopback(d.listener.network[len("udp"):]), uint16(port))}, nil
	}
	hosts, err := names.LookupNetIP(d.ctx, "ip"+d.listener.network[len("udp"):], d.host)
	if err != nil {
		return nil, err
	}
	for _, h := range hosts {
		to = append(to, netip.AddrPortFrom(h.Unmap(), uint16(port)))
	}
	slices.SortStableFunc(to, func(a, b netip.AddrPort) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	return to, nil
}

// resolved connects to the first address that can be.
func (d *packetDial) resolved(to []netip.AddrPort, err error) {
	d.loop.removeSource(d)
	d.loop.r.dials.Add(-1)
	if d.loop.draining {
		err = net.ErrClosed
	}
	var s *PacketConn
	for i := 0; err == nil && s == nil && i < len(to); i++ {
		var failed error
		if s, failed = d.connect(to[i]); failed != nil && i == len(to)-1 {
			err = failed
		}
	}
	if s == nil {
		d.failed(err)
		return
	}
	d.loop.packetRoom(d.opts.MaxDatagram)
	defer func() {
		if s.handler == nil { // refused, or the function did not return
			s.closeFD()
		}
	}()
	d.loop.serve(&s.peer.conn, func(*Conn) {
		h, err := d.dialed(s, nil)
		if err == nil {
			s.handle(h)
		}
	})
	if s.handler != nil {
		s.open()
	}
}

// failed tells that there will be no socket.
func (d *packetDial) failed(err error) {
	defer func() {
		d.loop.load.Add(-1)
		d.listener.socketClosed()
	}()
	nobody := &Conn{loop: d.loop, origin: &d.listener.origin, phase: phaseClosed, heapIndex: -1}
	d.loop.serve(nobody, func(*Conn) { _, _ = d.dialed(nil, d.error(err)) })
}

// error wraps err as net.Dial does.
func (d *packetDial) error(err error) error {
	lis := d.listener
	e := &net.OpError{Op: "dial", Net: lis.network, Addr: lis.addr, Err: err}
	if local := d.opts.Local; local.IsValid() {
		e.Source = net.UDPAddrFromAddrPort(local)
	}
	return e
}

// connect makes the socket.
func (d *packetDial) connect(to netip.AddrPort) (*PacketConn, error) {
	network, f := "udp4", familyIPv4
	if to.Addr().Is6() {
		network, f = "udp6", familyIPv6
	}
	if only := d.listener.network; only != "udp" && only != network {
		return nil, os.NewSyscallError("connect", unix.EAFNOSUPPORT)
	}
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(loopback(network[len("udp"):]), to.Port())
	}
	options := d.opts.socketOptions()
	if d.opts.Local != (netip.AddrPort{}) {
		from, err := d.from(f, to.Addr())
		if err != nil {
			return nil, err
		}
		options = append(options, bindTo(f, from))
	}
	fd, _, err := socket.UDPSocket(network, to.String(), true, options, nil)
	if err != nil {
		return nil, err
	}
	s, err := d.connected(fd)
	if err != nil {
		_ = unix.Close(fd)
	}
	return s, err
}

// from returns the address that a socket of the family sends from.
func (d *packetDial) from(f family, to netip.Addr) (netip.AddrPort, error) {
	local := d.opts.Local
	if !local.Addr().IsValid() || local.Addr().IsUnspecified() {
		return netip.AddrPortFrom(unspecified(to), local.Port()), nil
	}
	if errno := f.check(local.Addr(), to); errno != 0 {
		return local, os.NewSyscallError("bind", errno)
	}
	return local, nil
}

// connected makes a PacketConn of a connected socket.
func (d *packetDial) connected(fd int) (*PacketConn, error) {
	remote, err := unix.Getpeername(fd)
	if err != nil {
		return nil, os.NewSyscallError("getpeername", err)
	}
	lis := d.listener
	s, err := lis.newPacketConn(fd, d.opts)
	if err != nil {
		return nil, err
	}
	s.loop, s.peer = d.loop, new(peer)
	lis.addr, lis.local = net.UDPAddrFromAddrPort(s.local), s.local
	s.peer.enter(s, FourTuple{Local: s.local, Remote: addrPortOf(remote)})
	return s, nil
}

// endDialled tells the handler of the socket's end.
func (s *PacketConn) endDialled() {
	if s.peer.conn.hasEnded() {
		return
	}
	s.loop.load.Add(-1)
	s.failed = nil // Close is the last that its handler hears
	cause := s.closeCause()
	s.peer.rare.cause = cause
	if unsent := s.peer.leave(); unsent > 0 {
		if cause == nil {
			cause = net.ErrClosed
		}
		cause = &UnsentError{Bytes: unsent, Cause: cause}
	}
	if h, ok := s.handler.(PacketCloseHandler); ok {
		s.loop.serve(&s.peer.conn, func(*Conn) { h.Close(s, cause) })
	}
}
