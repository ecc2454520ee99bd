// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && (!linux || quartet_plainsyscalls)

package reactor

import (
	"net/netip"
	"unsafe"

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

func (p *packets) receive(fd, limit, count int) (int, unix.Errno) {
	for i := range count {
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
	return count, 0
}

func (p *packets) describe(i int, d *Datagram) (drops uint32, told bool) {
	m := &p.received[i]
	d.Payload = p.buffer(i)[:m.n]
	d.From = m.from
	d.Truncated = m.flags&unix.MSG_TRUNC != 0
	return d.control(m.control.bytes()[:m.told])
}

func (p *packets) transmit(fd int, f family, gso bool, out []outgoing) (int, unix.Errno) {
	for sent := 0; sent < len(out); {
		o, together, size := &out[sent], 1, len(out[sent].payload)
		if gso {
			together, size = coalesce(out[sent:])
		}
		used := p.source.putSource(o.source)
		if together > 1 {
			used = p.source.putSegment(used, len(o.payload))
		}
		var to unix.Sockaddr
		if o.to.IsValid() {
			to = sockaddr(f, o.to)
		}
		payload := unsafe.Slice(unsafe.SliceData(o.payload), size) // they lie together
		_, err := unix.SendmsgN(fd, payload, p.source.bytes()[:used], to, ioFlags)
		if _, errno := result(0, err); errno != 0 {
			if sent > 0 {
				return sent, 0 // the next call meets it again
			}
			return 0, errno
		}
		sent += together
	}
	return len(out), 0
}
