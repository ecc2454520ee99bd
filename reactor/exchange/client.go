// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package exchange

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// maxDatagram is more than any UDP datagram holds.
const maxDatagram = 64 << 10

// A Client asks one peer through one socket, a request at a time. It belongs to one goroutine at a time; only Close
// may be called from any. It holds 64 KiB, for a datagram of any length.
type Client struct {
	socket net.PacketConn
	conn   net.Conn // socket, if it is connected to the peer; or nil
	peer   net.Addr
	opts   Options
	stats  Stats
	buf    [maxDatagram]byte
}

// Stats are the counters of a Client, or of an Async.
type Stats struct {
	Requests  uint64 // calls of Do, as they begin
	Tries     uint64 // attempts to send, the first of each request included
	Replies   uint64 // requests answered
	Unmatched uint64 // datagrams of the peer that were not the awaited reply: late, duplicate or damaged ones
	Foreign   uint64 // datagrams of somebody else; a connected socket does not show them
	Errors    uint64 // errors of the socket, most of them an ICMP message's
}

// Dial makes a Client of a new socket that is connected to the address; networks are udp, udp4 and udp6. ctx bounds
// the look-up of a host's name. Nothing is sent. Errors of the network are *net.OpError.
func Dial(ctx context.Context, network, address string, o *Options) (*Client, error) {
	switch network {
	case "udp", "udp4", "udp6":
	default:
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c, err := NewClient(conn.(*net.UDPConn), nil, o)
	if err != nil {
		_ = conn.Close()
	}
	return c, err
}

// NewClient makes a Client of a UDP socket, which is the Client's from then on, its deadlines included. A nil peer is
// the one that the socket is connected to. Otherwise the socket must not be connected, and peer is the single host
// that is asked and heard; such a socket does not hear that a port is unreachable.
func NewClient(socket net.PacketConn, peer net.Addr, o *Options) (*Client, error) {
	opts, err := o.resolve()
	if err != nil {
		return nil, err
	}
	c := &Client{socket: socket, peer: peer, opts: opts}
	if conn, ok := socket.(net.Conn); ok && conn.RemoteAddr() != nil {
		if peer != nil {
			return nil, fmt.Errorf("exchange: peer is %v, must be nil for a socket connected to %v", peer, conn.RemoteAddr())
		}
		c.conn, c.peer = conn, conn.RemoteAddr()
		return c, nil
	}
	udp, ok := peer.(*net.UDPAddr)
	if !ok || udp == nil || udp.IP == nil || udp.IP.IsUnspecified() || udp.IP.IsMulticast() || udp.Port == 0 {
		return nil, fmt.Errorf("exchange: peer is %v, must be the UDP address of one host where the socket is not connected", peer)
	}
	return c, nil
}

// Do sends payload as a request and returns the reply, which is the caller's. payload is not kept. Do blocks no longer
// than the waits of Options.Backoff together, and not at all once ctx is done.
//
// Errors are a *NoReplyError for a request given up; the context's cause, wrapped, when ctx ended first; and what no
// other try can mend, wrapped and at once: EMSGSIZE for a request too long for a datagram, net.ErrClosed after Close.
// The Client stays usable, also when the reply comes later.
func (c *Client) Do(ctx context.Context, payload []byte) (reply []byte, err error) {
	defer c.interruptBy(ctx)()
	c.stats.Requests++
	q := request{opts: &c.opts, peer: c.peer, payload: payload}
	if ctx.Err() != nil {
		return nil, q.abandoned(context.Cause(ctx)) // to no try at all
	}
	for {
		wait, err := q.next()
		if err != nil {
			return nil, err
		}
		end := time.Now().Add(wait)
		if err := c.send(ctx, &q, end); err != nil {
			return nil, err
		}
		reply, err := c.await(ctx, &q, end)
		if reply != nil || err != nil {
			return reply, err
		}
	}
}

// send makes one try. What cannot be sent may be heard of in the next try.
func (c *Client) send(ctx context.Context, q *request, end time.Time) error {
	if err := c.arm(ctx, q, end); err != nil {
		return err
	}
	c.stats.Tries++
	err := c.write(q.payload)
	if err == nil {
		return nil
	}
	// Whatever it is, it may be what became of the try before, told by the next call on the socket, which does nothing
	// else then (udp(7)). The call after that speaks for itself.
	c.told(q, err)
	if err = c.write(q.payload); err == nil {
		return nil
	}
	c.told(q, err)
	return q.unsent(err)
}

// await returns the reply that comes before the end, which is not nil; or nil.
func (c *Client) await(ctx context.Context, q *request, end time.Time) (reply []byte, err error) {
	for {
		if err := c.arm(ctx, q, end); err != nil {
			return nil, err
		}
		n, from, err := c.read()
		switch {
		case err == nil && !c.isPeer(from):
			c.stats.Foreign++
		case err == nil && q.answeredBy(c.buf[:n]):
			c.stats.Replies++
			return append([]byte{}, c.buf[:n]...), nil
		case err == nil:
			c.stats.Unmatched++
		case errors.Is(err, os.ErrDeadlineExceeded):
			if !time.Now().Before(end) {
				return nil, nil
			}
		default:
			c.told(q, err)
			if err := q.unheard(err); err != nil {
				return nil, err
			}
		}
	}
}

// told takes note of an error of the socket.
func (c *Client) told(q *request, err error) {
	c.stats.Errors++
	q.last = err
}

// interruptBy has ctx end what blocks on the socket, until release is called.
func (c *Client) interruptBy(ctx context.Context) (release func()) {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.socket.SetDeadline(time.Unix(1, 0)) // fails on a closed socket, on which nothing blocks
		close(interrupted)
	})
	return func() {
		if !stop() {
			<-interrupted // it must not meet the next request's deadlines
		}
	}
}

// arm sets until when the socket blocks. ctx is looked at after that: if it ends later, its deadline is the later one.
func (c *Client) arm(ctx context.Context, q *request, end time.Time) error {
	if err := c.socket.SetDeadline(end); err != nil {
		return q.ended(err)
	}
	if ctx.Err() != nil {
		return q.abandoned(context.Cause(ctx))
	}
	return nil
}

func (c *Client) write(p []byte) (err error) {
	if c.conn != nil {
		_, err = c.conn.Write(p)
	} else {
		_, err = c.socket.WriteTo(p, c.peer)
	}
	return err
}

func (c *Client) read() (n int, from net.Addr, err error) {
	if c.conn != nil {
		n, err = c.conn.Read(c.buf[:])
		return n, c.peer, err
	}
	return c.socket.ReadFrom(c.buf[:])
}

// isPeer compares addresses. IPv4 may come in its IPv6 form, and a zone by name or by number.
func (c *Client) isPeer(from net.Addr) bool {
	if c.conn != nil {
		return true
	}
	a, ok := from.(*net.UDPAddr)
	b := c.peer.(*net.UDPAddr)
	return ok && a.Port == b.Port && a.IP.Equal(b.IP)
}

// Stats returns the Client's counters.
func (c *Client) Stats() Stats { return c.stats }

// LocalAddr returns the socket's own address.
func (c *Client) LocalAddr() net.Addr { return c.socket.LocalAddr() }

// RemoteAddr returns the peer's address.
func (c *Client) RemoteAddr() net.Addr { return c.peer }

// Close closes the socket. A running Do returns with net.ErrClosed.
func (c *Client) Close() error { return c.socket.Close() }
