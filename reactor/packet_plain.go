// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && (!linux || quartet_plainsyscalls)

package reactor

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// The same contract as packet_linux.go, with an ordinary call for each datagram.

// packetCalls are what recvmsg(2) told of the datagrams of a batch.
type packetCalls struct {
	received [maxBatch]plainMessage
	source   control
}

type plainMessage struct {
	n, flags int
	from     netip.AddrPort
	control  control
	told     int // bytes of control
}

func (p *packets) receive(fd, limit int) (int, unix.Errno) {
	for i := range maxBatch {
		m := &p.received[i]
		n, told, flags, from, err := unix.Recvmsg(fd, p.buffer(i)[:limit], m.control.bytes(), ioFlags)
		if _, errno := result(n, err); errno != 0 {
			if i > 0 {
				return i, 0 // an error that is cleared by this call is a lost hint at most
			}
			return 0, errno
		}
		m.n, m.told, m.flags, m.from = n, told, flags, addrPortOf(from)
	}
	return maxBatch, 0
}

func (p *packets) describe(i int, d *Datagram) (drops uint32, told bool) {
	m := &p.received[i]
	d.Payload = p.buffer(i)[:m.n]
	d.From = m.from
	d.Truncated = m.flags&unix.MSG_TRUNC != 0
	return d.control(m.control.bytes()[:m.told])
}

func (p *packets) transmit(fd int, f family, out []outgoing) (int, unix.Errno) {
	for i, o := range out {
		source := p.source.bytes()[:p.source.putSource(o.source)]
		var to unix.Sockaddr
		if o.to.IsValid() {
			to = sockaddr(f, o.to)
		}
		_, err := unix.SendmsgN(fd, o.payload, source, to, ioFlags)
		if _, errno := result(0, err); errno != 0 {
			if i > 0 {
				return i, 0 // the next call meets it again
			}
			return 0, errno
		}
	}
	return len(out), 0
}
