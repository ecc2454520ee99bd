// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux && quartet_simulated

package reactor

import (
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// Under this tag, which is for one test, a loop, its listeners' sockets and its streams have a simulated kernel. The
// shipped build pays nothing for it: no call goes through an interface there.

// system is the kernel. A test sets it before it makes a reactor.
var system kernel

// A kernel has what the other sys files and wake_linux.go have of the real one, with the same contracts.
type kernel interface {
	OpenPoller() nativePoller
	OpenWaker() (fd int)
	Ring(fd int)
	Silence(fd int)
	Accept(fd int, raw *unix.RawSockaddrAny) (int, unix.Errno)
	Readable(fd int) bool
	Queued(fd int) int
	Recv(fd int, p []byte) (int, unix.Errno)
	Send(fd int, parts ...[]byte) (int, unix.Errno)
	ShutdownWriting(fd int)
	ResetOnClose(fd int)
	SocketError(fd int) unix.Errno
	Close(fd int)
}

// A nativePoller has what is used of gnet's.
type nativePoller interface {
	AddRead(pa *netpoll.PollAttachment, edgeTriggered bool) error
	AddWrite(pa *netpoll.PollAttachment, edgeTriggered bool) error
	AddReadWrite(pa *netpoll.PollAttachment, edgeTriggered bool) error
	ModRead(pa *netpoll.PollAttachment, edgeTriggered bool) error
	ModReadWrite(pa *netpoll.PollAttachment, edgeTriggered bool) error
	Delete(fd int) error
	Polling(callback netpoll.PollEventHandler) error
	Close() error
}

func openNativePoller() (nativePoller, error) { return system.OpenPoller(), nil }

const ioFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL // of datagrams, whose sockets are real

func accept4(fd int, raw *rawAddr) (int, unix.Errno) { return system.Accept(fd, raw) }
func queued(fd int) int                              { return system.Queued(fd) }
func recv(fd int, p []byte) (int, unix.Errno)        { return system.Recv(fd, p) }
func send(fd int, p []byte) (int, unix.Errno)        { return system.Send(fd, p) }

type gatherer struct{}

func (*gatherer) send(fd int, parts [][]byte) (int, unix.Errno) { return system.Send(fd, parts...) }

func readable(fd int) bool          { return system.Readable(fd) }
func shutdownWriting(fd int)        { system.ShutdownWriting(fd) }
func shutdownReading(int)           {} // there are no unix sockets
func resetOnClose(fd int)           { system.ResetOnClose(fd) }
func socketError(fd int) unix.Errno { return system.SocketError(fd) }
func closeSocket(fd int)            { system.Close(fd) }

type waker struct{ fd int }

func openWaker() (waker, error) { return waker{system.OpenWaker()}, nil }

func (w waker) ring()    { system.Ring(w.fd) }
func (w waker) silence() { system.Silence(w.fd) }
func (w waker) await()   {}
func (w waker) close()   { system.Close(w.fd) }
