// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	maxBatch         = 64        // datagrams received or sent by one call, and for one event
	maxDrainBatches  = 256       // batches served when draining, for clients may not stop
	packetGatherSize = 128 << 10 // bytes of datagrams that gather before they are sent

	maxPayload4 = 65535 - 20 - 8 // IPv4's length includes its own header and UDP's (RFC 791, RFC 768)
	maxPayload6 = 65535 - 8      // IPv6's does not include its own (RFC 8200)
)

// packets is what the packet sockets of one loop share: buffers for one batch in and one out, and where the
// running batch stands. The platform files add what their system calls need, and
//
//	receive(fd, max) (n, errno)      receives up to maxBatch datagrams, of each at most max bytes, without blocking
//	describe(i, d) drops, told       fills d from the i-th of them; what the kernel dropped so far, if it told
//	transmit(fd, f, out) (n, errno)  sends the first n of out; errno is why the first could not be sent, with n = 0
type packets struct {
	running *PacketConn // whose batch is being served
	ended   bool        // serve came to its end, neither panic nor Goexit ended it
	got     int         // datagrams of the batch
	next    int         // of these, the first not yet delivered
	d       Datagram

	stride int
	in     []byte     // maxBatch buffers, stride bytes apart
	gather []byte     // payloads of out
	out    []outgoing // sent by the handler and not yet given to the kernel

	failures []failure // not yet told
	telling  bool      // SendError is running or has run last: what fails now is only counted

	packetCalls
}

// An outgoing datagram. Its payload lies in packets.gather.
type outgoing struct {
	payload []byte
	source  netip.Addr
	to      netip.AddrPort
}

type failure struct {
	to    netip.AddrPort
	errno unix.Errno
}

// packetRoom prepares the loop for datagrams of up to limit bytes. Memory comes from the kernel when it is first
// touched, and small datagrams touch little: the first buffers are used first, and of each its beginning.
func (l *loop) packetRoom(limit int) {
	if l.packets == nil {
		l.packets = &packets{
			gather:   make([]byte, 0, packetGatherSize),
			out:      make([]outgoing, 0, maxBatch),
			failures: make([]failure, 0, maxBatch),
		}
	}
	if p := l.packets; limit > p.stride {
		p.in, p.stride = make([]byte, maxBatch*limit), limit
	}
}

// buffer returns the i-th buffer for receiving.
func (p *packets) buffer(i int) []byte {
	end := (i + 1) * p.stride
	return p.in[i*p.stride : end : end]
}

func (s *PacketConn) descriptor() int { return s.fd }
func (s *PacketConn) retry()          {}
func (s *PacketConn) due() int64      { return 0 }

// ready receives a batch and serves it. Level-triggered, what is left is reported again, after the other
// descriptors had their turn.
func (s *PacketConn) ready() { s.receive() }

// receive serves one batch and says whether there may be more.
func (s *PacketConn) receive() bool {
	if s.fd < 0 {
		return false
	}
	p := s.loop.packets
	n, errno := p.receive(s.fd, s.opts.MaxDatagram)
	more := n == maxBatch || errno != 0 && errno != unix.EAGAIN
	if more && edgeTriggered {
		_ = s.loop.postLoop(s.ready) // there is no second event for what is left
	}
	switch {
	case n > 0:
		p.got, p.next, p.telling = n, 0, false
		s.serve()
	case more && errno != unix.EINTR:
		// Usually an ICMP message: a datagram sent before did not arrive. The call that tells an error clears it.
		s.stats.ReceiveErrors++
	}
	return more
}

// serve hands the rest of the batch to the handler and sends what it sent.
func (s *PacketConn) serve() {
	p := s.loop.packets
	p.running, p.ended = s, false
	defer s.served()
	for p.next < p.got {
		s.deliver(p)
		s.tellFailures(p)
	}
	s.flush()
	s.tellFailures(p)
	p.telling = true
	s.flush() // what SendError sent; told again, it could go on for ever
	p.running, p.d = nil, Datagram{}
	p.ended = true
}

// served ends serve. If a panic or Goexit did, the rest of the batch is served here, for the kernel has given it
// away. The handler gets nothing twice, so that ends.
func (s *PacketConn) served() {
	p := s.loop.packets
	if p.ended {
		return
	}
	value := recover()
	if value == nil {
		value = ErrGoexit // run's deferred left starts a new goroutine
	}
	s.loop.r.opts.Logger.Error("reactor: packet handler panicked",
		"listener", s.listener.String(), "value", value, "stack", string(debug.Stack()))
	s.flush() // before telling changes: if SendError crashed, what it sent fails unheard
	p.telling = false
	s.serve()
}

// deliver hands one datagram to the handler.
func (s *PacketConn) deliver(p *packets) {
	d := &p.d
	*d = Datagram{conn: s, To: s.local}
	if drops, told := p.describe(p.next, d); told {
		s.stats.Dropped += uint64(drops - s.drops)
		s.drops = drops
	}
	p.next++
	s.stats.Received++
	if d.Truncated {
		s.stats.Truncated++
	}
	s.handler.Datagram(s, d)
}

// send takes p, into what is gathered while the socket's batch is served, otherwise to the kernel.
func (s *PacketConn) send(payload []byte, source netip.Addr, to netip.AddrPort) error {
	s.assertOnLoop()
	if s.fd < 0 {
		return s.opError(to, net.ErrClosed)
	}
	source, to = source.Unmap(), netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if source.IsUnspecified() {
		source = netip.Addr{}
	}
	if errno := s.family.check(len(payload), source, to.Addr()); errno != 0 {
		return s.opError(to, os.NewSyscallError("sendmsg", errno))
	}
	p := s.loop.packets
	if p.running != s {
		return s.sendNow(payload, source, to)
	}
	if len(p.out) == maxBatch || len(p.gather)+len(payload) > packetGatherSize {
		s.flush()
	}
	p.add(payload, source, to)
	return nil
}

// check says why no socket of the family can send n bytes from source, if given, to the address.
func (f family) check(n int, source, to netip.Addr) unix.Errno {
	limit := maxPayload6
	if to.Is4() {
		limit = maxPayload4
	}
	switch {
	case !to.IsValid():
		return unix.EDESTADDRREQ
	case to.Is4() && f == familyIPv6, to.Is6() && f == familyIPv4, source.IsValid() && source.Is4() != to.Is4():
		return unix.EAFNOSUPPORT
	case n > limit:
		return unix.EMSGSIZE
	}
	return 0
}

// add gathers one datagram. There is room.
func (p *packets) add(payload []byte, source netip.Addr, to netip.AddrPort) {
	start := len(p.gather)
	p.gather = append(p.gather, payload...)
	p.out = append(p.out, outgoing{p.gather[start:], source, to})
}

// zoneIndex returns the number of the interface that the zone of an address names, 0 if there is none.
func zoneIndex(a netip.Addr) uint32 {
	zone := a.Zone()
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}

// sendNow sends one datagram outside the socket's own batch. Another's batch may be gathering in the buffers it
// needs.
func (s *PacketConn) sendNow(payload []byte, source netip.Addr, to netip.AddrPort) error {
	p := s.loop.packets
	if p.running != nil {
		p.running.flush()
	}
	p.add(payload, source, to)
	n, errno := p.transmit(s.fd, s.family, p.out)
	p.sent()
	s.stats.Sent += uint64(n)
	if errno != 0 {
		s.stats.Unsent++
		return s.opError(to, os.NewSyscallError("sendmsg", errno))
	}
	return nil
}

// flush gives the kernel what has gathered. What it refuses is lost: a full buffer costs all that is left, for
// they would be refused too.
func (s *PacketConn) flush() {
	p := s.loop.packets
	for out := p.out; len(out) > 0; {
		n, errno := p.transmit(s.fd, s.family, out)
		s.stats.Sent += uint64(n)
		out = out[n:]
		switch errno {
		case 0, unix.EINTR:
			continue
		case unix.EAGAIN, unix.ENOBUFS:
			n = len(out)
		default:
			n = 1
		}
		s.stats.Unsent += uint64(n)
		for _, o := range out[:n] {
			if s.failed != nil && !p.telling && len(p.failures) < maxBatch {
				p.failures = append(p.failures, failure{o.to, errno})
			}
		}
		out = out[n:]
	}
	p.sent()
}

// sent forgets what has gathered.
func (p *packets) sent() {
	clear(p.out)
	p.out, p.gather = p.out[:0], p.gather[:0]
}

// tellFailures calls SendError for what flush noted.
func (s *PacketConn) tellFailures(p *packets) {
	p.telling = true
	for len(p.failures) > 0 {
		f := p.failures[0]
		p.failures = slices.Delete(p.failures, 0, 1)
		s.failed.SendError(s, f.to, s.opError(f.to, os.NewSyscallError("sendmsg", f.errno)))
	}
	p.telling = false
}

// opError wraps an error of sending as package net does.
func (s *PacketConn) opError(to netip.AddrPort, err error) error {
	lis := s.listener
	return &net.OpError{Op: "write", Net: lis.network, Source: lis.addr, Addr: net.UDPAddrFromAddrPort(to), Err: err}
}

// open puts the socket on its loop.
func (s *PacketConn) open() {
	l := s.loop
	if s.fd < 0 {
		return // closed before Serve
	}
	l.packetRoom(s.opts.MaxDatagram)
	l.sources = append(l.sources, s)
	if err := l.poller.set(s.fd, unregistered, interestRead); err != nil {
		l.r.opts.Logger.Error("reactor: not receiving", "listener", s.listener.String(), "err", err)
		s.closeFD()
		return
	}
	if l.draining { // Shutdown overtook ListenPacket
		s.drain()
	}
}

// drain serves what waits and closes, also if the handler ends the goroutine.
func (s *PacketConn) drain() {
	defer s.closeFD()
	for range maxDrainBatches {
		if !s.receive() {
			return
		}
	}
}

// closeFD closes the socket; what waits in it is lost.
func (s *PacketConn) closeFD() {
	if s.fd < 0 {
		return
	}
	if s.loop.removeSource(s) {
		_ = s.loop.poller.set(s.fd, interestRead, unregistered)
	}
	s.listener.closeSocket(&s.fd)
}
