// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// A peer is the far end of datagrams as a connection: what a Ref, Lookup, ByID and Conns know of a session, or of a
// dialled socket. Its Conn is in phasePeer, a phase of its own in which nothing of a stream's life happens; what
// can be asked of it comes here.
type peer struct {
	conn    Conn
	rare    rareState // conn.rare, through which the peer is found
	socket  *PacketConn
	session *Session   // that it belongs to; nil for a dialled socket
	source  netip.Addr // where it sends from; invalid lets the kernel choose
}

// datagramLimits are the limits of what Ref.Write posts to a peer.
var datagramLimits = &StreamOptions{MaxOutput: DefaultMaxOutput}

// peers finds the peers of a loop: a registry, where a number of the loop's own stands for the descriptor number.
type peers struct {
	registry
	free  []int32 // numbers given back
	count int     // numbers given out for the first time
}

// enter gives p its record and makes it known.
func (p *peer) enter(s *PacketConn, tuple FourTuple) {
	l := s.loop
	var number int32
	if n := len(l.peers.free); n > 0 {
		number, l.peers.free = l.peers.free[n-1], l.peers.free[:n-1]
	} else {
		number = int32(l.peers.count)
		l.peers.count++
	}
	p.socket = s
	p.rare.peer = p
	p.conn.loop, p.conn.origin, p.conn.rare = l, &s.listener.origin, &p.rare
	p.conn.tuple, p.conn.fd, p.conn.heapIndex = tuple, number, -1
	p.conn.phase = phasePeer
	p.conn.id = l.r.sequence.Add(1)<<fdBits | uint64(number)
	l.peers.add(&p.conn)
}

// leave makes p unknown and returns how many bytes were posted and not sent.
func (p *peer) leave() int64 {
	l := p.socket.loop
	unsent := p.conn.seal()
	p.conn.cancelContext()
	removeTimers(&p.rare.timers)
	l.peers.removeTuple(&p.conn)
	l.peers.removeFD(int(p.conn.fd))
	l.peers.free = append(l.peers.free, p.conn.fd)
	return unsent
}

// peer returns the peer whose record c is, nil for a stream.
func (c *Conn) peer() *peer {
	if c.phase != phasePeer {
		return nil
	}
	return c.rare.peer
}

// Session returns the session that c stands for in a function given to Ref.Do, nil for a stream and for a socket of
// DialPacket.
func (c *Conn) Session() *Session {
	c.assertOnLoop()
	if p := c.peer(); p != nil {
		return p.session
	}
	return nil
}

// PacketConn returns the socket that c, standing for a session or for a socket of DialPacket, sends by; nil for a stream.
func (c *Conn) PacketConn() *PacketConn {
	c.assertOnLoop()
	if p := c.peer(); p != nil {
		return p.socket
	}
	return nil
}

// closed says whether nothing can be sent any more.
func (p *peer) closed() bool {
	return p.conn.hasEnded() || p.socket.closing || p.socket.ending || p.session != nil && p.session.closing
}

// write sends one datagram.
func (p *peer) write(payload []byte) (int, error) {
	if p.closed() {
		return 0, p.socket.opError(p.conn.tuple.Remote, net.ErrClosed)
	}
	if err := p.socket.send(payload, p.source, p.conn.tuple.Remote); err != nil {
		return 0, err
	}
	return len(payload), nil
}

// close is Close of the session or the dialled socket.
func (p *peer) close(cause error) error {
	if p.session != nil {
		return p.session.close(cause)
	}
	return p.socket.close(cause)
}

// posted takes a datagram that Ref.Write queued. Those of a turn leave together.
func (p *peer) posted(s segment) {
	c := &p.conn
	if !c.hasEnded() { // else it stays counted in held, which was told
		c.held.Add(-int64(len(s.B)))
		p.socket.sendPosted(s.B, p.source, c.tuple.Remote)
	}
	s.drop(c.loop.r)
}

// mayPost says why Ref.Write cannot post n bytes to a peer. Any goroutine.
func (c *Conn) mayPost(n int) error {
	if n <= c.rare.peer.socket.longest(c.tuple.Remote.Addr()) {
		return nil
	}
	return datagramError(c.origin, "write", c.tuple.Remote, os.NewSyscallError("sendmsg", unix.EMSGSIZE))
}
