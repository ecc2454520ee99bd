// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package reactor

import "net/netip"

// The bounds of PacketOptions.
const (
	// DefaultMaxDatagram is more than any UDP datagram holds.
	DefaultMaxDatagram = 64 << 10

	maxSocketBuffer = 1 << 30
)

// PacketOptions configures a packet listener, or a socket of DialPacket. nil and the zero value are the defaults.
type PacketOptions struct {
	// MaxDatagram is how many bytes of a datagram are received, 1 to 65536; of a longer one the rest is lost and
	// Datagram.Truncated set. Each loop has 64 buffers of the largest MaxDatagram among its sockets, whose memory
	// is taken as datagrams fill it. 0 means 65536, which no datagram exceeds.
	MaxDatagram int

	// RecvBuffer and SendBuffer are how many bytes the kernel is asked to hold of what was not yet received or
	// sent (SO_RCVBUF, SO_SNDBUF, socket(7)), up to 1 GiB; it may grant less, see PacketConn.Buffers. 0 means the
	// system's default.
	RecvBuffer, SendBuffer int

	// Broadcast permits sending to broadcast addresses (SO_BROADCAST, socket(7)).
	Broadcast bool

	// Local is the address that DialPacket sends from and receives at; an unspecified or missing address or the port
	// 0 lets the system choose. ListenPacket has its own argument, and like AdoptPacket wants the zero value.
	Local netip.AddrPort
}

// resolve returns a copy with the defaults filled in, or what is wrong.
func (o *PacketOptions) resolve() (PacketOptions, error) {
	var r PacketOptions
	if o != nil {
		r = *o
	}
	var c checker
	if r.MaxDatagram < 0 || r.MaxDatagram > DefaultMaxDatagram {
		c.fail("MaxDatagram is %d, must be 0 to %d", r.MaxDatagram, DefaultMaxDatagram)
	}
	if r.RecvBuffer < 0 || r.RecvBuffer > maxSocketBuffer {
		c.fail("RecvBuffer is %d, must be 0 to %d", r.RecvBuffer, maxSocketBuffer)
	}
	if r.SendBuffer < 0 || r.SendBuffer > maxSocketBuffer {
		c.fail("SendBuffer is %d, must be 0 to %d", r.SendBuffer, maxSocketBuffer)
	}
	r.Local = netip.AddrPortFrom(r.Local.Addr().Unmap(), r.Local.Port())
	if r.MaxDatagram == 0 {
		r.MaxDatagram = DefaultMaxDatagram
	}
	return r, c.err
}
