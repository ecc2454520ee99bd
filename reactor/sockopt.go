// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/panjf2000/gnet/v2/pkg/socket"
)

// sockopt makes an option of a socket whose errors name it.
func sockopt(name string, set func(fd int) error) socket.Option[int] {
	return socket.Option[int]{SetSockOpt: func(fd, _ int) error {
		if err := set(fd); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}}
}

// tcpOptions are those of a TCP socket. Connections inherit them from the socket that accepted them (tcp(7), socket(7)):
// no call is needed for each.
func (o *StreamOptions) tcpOptions() []socket.Option[int] {
	options := []socket.Option[int]{o.noDelay(), o.keepAlive()}
	if o.UserTimeout > 0 {
		options = append(options, o.userTimeout())
	}
	if o.SendBuffer > 0 {
		options = append(options, o.sendBuffer())
	}
	if o.RecvBuffer > 0 {
		options = append(options, o.recvBuffer())
	}
	if o.BindToDevice != "" {
		options = append(options, sockopt("BindToDevice", func(fd int) error { return bindToDevice(fd, o.BindToDevice) }))
	}
	return options
}

// connOptions are those of a connection that no listener gives them to, but for what Conn.setUnixOptions sets.
func (o *StreamOptions) connOptions(network string) []socket.Option[int] {
	if network == "unix" {
		return nil
	}
	return o.tcpOptions()
}

// listenOptions are those that only a listening TCP socket has.
func (o *StreamOptions) listenOptions() []socket.Option[int] {
	options := []socket.Option[int]{sockopt("SO_REUSEADDR", func(fd int) error { return socket.SetReuseAddr(fd, 1) })}
	if o.FastOpen > 0 {
		options = append(options, sockopt("FastOpen", func(fd int) error { return setFastOpen(fd, o.FastOpen) }))
	}
	if o.DeferAccept > 0 {
		options = append(options, sockopt("DeferAccept", func(fd int) error { return setDeferAccept(fd, seconds(o.DeferAccept)) }))
	}
	return options
}

var errUnixRecvBuffer = errors.New("RecvBuffer is for tcp: of two unix sockets the sender's SendBuffer counts")

// checkUnix says which option is none of a unix connection.
func (o *StreamOptions) checkUnix() error {
	switch {
	case o.UserTimeout > 0:
		return errors.New("UserTimeout is for tcp")
	case o.BindToDevice != "":
		return errors.New("BindToDevice is for tcp")
	case o.RecvBuffer > 0:
		return errUnixRecvBuffer
	}
	return nil
}

// checkUnixListener says which option is none of a unix listener.
func (o *StreamOptions) checkUnixListener() error {
	switch {
	case o.ReusePort:
		return errors.New("ReusePort is for tcp")
	case o.FastOpen > 0:
		return errors.New("FastOpen is for tcp")
	case o.DeferAccept > 0:
		return errors.New("DeferAccept is for tcp")
	case o.MaxPerPeer != math.MaxInt:
		return errors.New("MaxPerPeer is for tcp: the peers of unix sockets have no addresses")
	}
	return o.checkUnix()
}

// setUnixOptions sets the option of a unix connection, which inherits none.
func (c *Conn) setUnixOptions() {
	if o := c.origin; o.opts.SendBuffer > 0 && o.network == "unix" {
		_ = socket.SetSendBuffer(int(c.fd), o.opts.SendBuffer)
	}
}

// resolveFor is resolve for a connection that is not a listener's.
func (o *StreamOptions) resolveFor(network string) (*StreamOptions, error) {
	r, err := o.resolve()
	if err == nil && network == "unix" {
		if err = r.checkUnix(); err != nil {
			err = fmt.Errorf("reactor: %w", err)
		}
	}
	return r, err
}

func (o *StreamOptions) noDelay() socket.Option[int] {
	on := 1
	if o.Nagle {
		on = 0
	}
	return sockopt("NoDelay", func(fd int) error { return socket.SetNoDelay(fd, on) })
}

func (o *StreamOptions) keepAlive() socket.Option[int] {
	return sockopt("KeepAlive", func(fd int) error {
		return socket.SetKeepAlive(fd, o.KeepAliveIdle > 0, seconds(o.KeepAliveIdle), seconds(o.KeepAliveInterval), o.KeepAliveCount)
	})
}

func (o *StreamOptions) userTimeout() socket.Option[int] {
	ms := int((o.UserTimeout + time.Millisecond - 1) / time.Millisecond)
	return sockopt("UserTimeout", func(fd int) error { return setUserTimeout(fd, ms) })
}

func (o *StreamOptions) sendBuffer() socket.Option[int] {
	return sockopt("SendBuffer", func(fd int) error { return socket.SetSendBuffer(fd, o.SendBuffer) })
}

func (o *StreamOptions) recvBuffer() socket.Option[int] {
	return sockopt("RecvBuffer", func(fd int) error { return socket.SetRecvBuffer(fd, o.RecvBuffer) })
}

// seconds rounds up to what TCP's options take.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// SetNoDelay turns Nagle's algorithm off, or on again (TCP_NODELAY, tcp(7)); see StreamOptions.Nagle. It and the setters
// below answer net.ErrClosed once the connection has ended, what is wrong with a value as Listen does, and else what the
// system says: for an option of TCP's on a unix connection that is errors.ErrUnsupported.
func (c *Conn) SetNoDelay(on bool) error {
	return c.setOption(StreamOptions{Nagle: !on}, (*StreamOptions).noDelay)
}

// SetKeepAlive changes the keep-alive probes. The values are those of StreamOptions: 0 is the default named there, an
// idle of -1 sends none.
func (c *Conn) SetKeepAlive(idle, interval time.Duration, count int) error {
	o := StreamOptions{KeepAliveIdle: idle, KeepAliveInterval: interval, KeepAliveCount: count}
	return c.setOption(o, (*StreamOptions).keepAlive)
}

// SetUserTimeout is StreamOptions.UserTimeout for this connection; 0 and -1 leave it to the system again.
func (c *Conn) SetUserTimeout(d time.Duration) error {
	return c.setOption(StreamOptions{UserTimeout: d}, (*StreamOptions).userTimeout)
}

// SetSendBuffer is StreamOptions.SendBuffer for this connection, 1 to 1 GiB.
func (c *Conn) SetSendBuffer(bytes int) error {
	return c.setBuffer("SendBuffer", bytes, StreamOptions{SendBuffer: bytes}, (*StreamOptions).sendBuffer)
}

// SetRecvBuffer is StreamOptions.RecvBuffer for this connection, 1 to 1 GiB. It cannot make TCP's window larger than was
// agreed at the beginning (tcp(7)), so that a large one belongs into StreamOptions. On a unix connection, where it would
// do nothing, the error is errors.ErrUnsupported.
func (c *Conn) SetRecvBuffer(bytes int) error {
	c.assertOnLoop()
	if c.origin.network == "unix" && c.hasFD() {
		return fmt.Errorf("reactor: %w: %w", errUnixRecvBuffer, errors.ErrUnsupported)
	}
	return c.setBuffer("RecvBuffer", bytes, StreamOptions{RecvBuffer: bytes}, (*StreamOptions).recvBuffer)
}

func (c *Conn) setBuffer(name string, bytes int, o StreamOptions, option func(*StreamOptions) socket.Option[int]) error {
	if bytes < 1 || bytes > maxSocketBuffer {
		return fmt.Errorf("reactor: %s is %d, must be 1 to %d", name, bytes, maxSocketBuffer)
	}
	return c.setOption(o, option)
}

// setOption checks an option as Listen does and sets it.
func (c *Conn) setOption(o StreamOptions, option func(*StreamOptions) socket.Option[int]) error {
	c.assertOnLoop()
	checked, err := o.resolve()
	if err != nil {
		return err
	}
	if !c.hasFD() {
		return c.noStream()
	}
	if err := option(checked).SetSockOpt(int(c.fd), 0); err != nil {
		return fmt.Errorf("reactor: %w", err)
	}
	return nil
}
