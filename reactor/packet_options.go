// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import "net/netip"

// The default and the bound of PacketOptions.
const (
	// DefaultMaxDatagram, in bytes, is more than any UDP datagram holds.
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

	// MulticastHops is how many networks what is sent to a multicast group may cross, 1 to 255 (IP_MULTICAST_TTL,
	// IPV6_MULTICAST_HOPS). 0 means 1, the system's default: the local network.
	MulticastHops int

	// MulticastInterface is the number of the interface by which it leaves (net.Interface's Index; IP_MULTICAST_IF,
	// IPV6_MULTICAST_IF). 0 lets the system choose.
	MulticastInterface int

	// NoMulticastLoop keeps it from members of the group on this machine (IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP).
	NoMulticastLoop bool

	// GRO has the kernel coalesce what it receives, GSO segment what is sent (UDP_GRO, UDP_SEGMENT, udp(7)), which
	// spares much of the cost of many datagrams between the same two addresses: with GSO those of one size that are
	// sent to one receiver in a row leave together. Handlers notice nothing, but that appending to a Payload may
	// allocate. Where the kernel has neither, they do nothing: see PacketGrant. GRO needs the default MaxDatagram.
	GRO, GSO bool

	// MaxQueued is what happens to datagrams for which the kernel has no room (EAGAIN, ENOBUFS). 0 drops and counts
	// them. Otherwise they wait, in order, until their bytes and 128 for each reach MaxQueued, when Send fails with
	// ErrOverflow; one Send may pass it. Up to 1 GiB. Shutdown waits for them to leave; what its patience, or
	// Listener.Close, leaves is dropped, counted and logged.
	MaxQueued int

	// Local is the address that DialPacket sends from and receives at; an unspecified or missing address or the port
	// 0 lets the system choose. ListenPacket has its own argument, and like AdoptPacket wants the zero value.
	Local netip.AddrPort
}

// PacketGrant is what the system granted of PacketOptions.
type PacketGrant struct {
	// RecvBuffer and SendBuffer are the sizes of the kernel's buffers in bytes, see PacketConn.Buffers.
	RecvBuffer, SendBuffer int

	// GRO and GSO are whether the options of that name were asked for and have an effect.
	GRO, GSO bool
}

// resolve returns a copy with the defaults filled in, or what is wrong.
func (o *PacketOptions) resolve() (PacketOptions, error) {
	var r PacketOptions
	if o != nil {
		r = *o
	}
	var c checker
	atMost(&c, "MaxDatagram", r.MaxDatagram, DefaultMaxDatagram)
	atMost(&c, "RecvBuffer", r.RecvBuffer, maxSocketBuffer)
	atMost(&c, "SendBuffer", r.SendBuffer, maxSocketBuffer)
	atMost(&c, "MaxQueued", r.MaxQueued, maxSocketBuffer)
	atMost(&c, "MulticastHops", r.MulticastHops, 255)
	if r.MulticastInterface < 0 {
		c.fail("MulticastInterface is %d, must not be negative", r.MulticastInterface)
	}
	if r.MaxDatagram == 0 {
		r.MaxDatagram = DefaultMaxDatagram
	}
	if r.GRO && r.MaxDatagram != DefaultMaxDatagram {
		c.fail("MaxDatagram is %d, must be 0 or %d with GRO", r.MaxDatagram, DefaultMaxDatagram)
	}
	r.Local = netip.AddrPortFrom(r.Local.Addr().Unmap(), r.Local.Port())
	return r, c.err
}
