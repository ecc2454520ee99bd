// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What a process is told of the sockets it is given: the protocol of sd_listen_fds(3), by which systemd activates
// services. LISTEN_PID names the process that is meant. Who starts a process in Go does not know its number in time, so
// HandOver tells it instead who started it, and where to say that it is ready.
const (
	envPID         = "LISTEN_PID"
	envFDs         = "LISTEN_FDS"
	envNames       = "LISTEN_FDNAMES"
	envPredecessor = "QUARTET_PREDECESSOR"
	envReady       = "QUARTET_READY"

	firstFD = 3 // SD_LISTEN_FDS_START

	nameUnlink = "quartet-unlink" // of a unix socket whose file goes with its listener
	nameKeep   = "quartet"        // of the other sockets that HandOver passes on
)

// An Inheritance is what a process got from the one that started it.
type Inheritance struct {
	// Sockets are those that are to be served, in the order in which they were given. Each can be given to
	// Reactor.ListenFiles or ListenPacketFiles, which leave the files to be closed.
	Sockets []Socket

	handed bool     // by a predecessor
	ready  *os.File // where it waits for a word, nil once it had one
}

// A Socket is an address that is bound, and listened on if it is not udp.
type Socket struct {
	Network string     // tcp, udp or unix
	Addr    net.Addr   // a *net.TCPAddr, *net.UDPAddr or *net.UnixAddr
	Name    string     // what the giver calls it, FileDescriptorName in systemd.socket(5)
	Files   []*os.File // one, or those that share the address (SO_REUSEPORT)

	// Unlink says that a predecessor would have removed the file of this unix socket with its listener. This is the
	// successor's business as soon as it is Ready, see Listener.SetUnlinkOnClose.
	Unlink bool
}

// Inherited returns the sockets that the process was given by HandOver, or by systemd and others who follow
// sd_listen_fds(3); none if it was given none. The environment that tells it is removed, so that no child takes it for
// its own: call it once. An error names a variable or a descriptor that is not what it is said to be.
func Inherited() (*Inheritance, error) {
	defer func() {
		for _, name := range []string{envPID, envFDs, envNames, envPredecessor, envReady} {
			_ = os.Unsetenv(name)
		}
	}()
	in := new(Inheritance)
	handed := os.Getenv(envPredecessor) == strconv.Itoa(os.Getppid())
	if !handed && os.Getenv(envPID) != strconv.Itoa(os.Getpid()) {
		return in, nil
	}
	n, err := strconv.ParseUint(os.Getenv(envFDs), 10, 16)
	if err != nil {
		return nil, fmt.Errorf("reactor: %s is %q, want a number of descriptors", envFDs, os.Getenv(envFDs))
	}
	names := strings.Split(os.Getenv(envNames), ":")
	for i := range int(n) {
		name := ""
		if i < len(names) {
			name = names[i]
		}
		if err := in.add(firstFD+i, name); err != nil {
			in.Close()
			return nil, fmt.Errorf("reactor: descriptor %d of %d that %s gives: %w", firstFD+i, n, envFDs, err)
		}
	}
	if handed {
		fd, err := strconv.Atoi(os.Getenv(envReady))
		if err == nil {
			_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC)
		}
		if err != nil {
			in.Close()
			return nil, fmt.Errorf("reactor: %s is %q: %w", envReady, os.Getenv(envReady), err)
		}
		in.handed, in.ready = true, os.NewFile(uintptr(fd), envReady)
	}
	return in, nil
}

// add takes a descriptor into the process's care.
func (in *Inheritance) add(fd int, name string) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	network, addr, err := boundSocket(fd)
	if err != nil {
		return err // and it stays open: it may be somebody else's
	}
	f := os.NewFile(uintptr(fd), name)
	for i := range in.Sockets {
		if s := &in.Sockets[i]; s.Network == network && s.Addr.String() == addr.String() {
			s.Files = append(s.Files, f)
			return nil
		}
	}
	in.Sockets = append(in.Sockets, Socket{Network: network, Addr: addr, Name: name, Files: []*os.File{f}, Unlink: name == nameUnlink})
	return nil
}

// boundSocket says what the descriptor is, if it is something that can be served.
func boundSocket(fd int) (network string, addr net.Addr, err error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if errors.Is(err, unix.ENOTSOCK) {
		return "", nil, errors.New("not a socket")
	}
	if err != nil {
		return "", nil, os.NewSyscallError("getsockopt", err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return "", nil, os.NewSyscallError("getsockname", err)
	}
	local := namedPort(addrPortOf(sa))
	path, isUnix := sa.(*unix.SockaddrUnix)
	switch {
	case isUnix && kind == unix.SOCK_STREAM:
		network, addr = "unix", &net.UnixAddr{Name: path.Name, Net: "unix"}
	case local.IsValid() && kind == unix.SOCK_STREAM:
		network, addr = "tcp", net.TCPAddrFromAddrPort(local)
	case local.IsValid() && kind == unix.SOCK_DGRAM:
		return "udp", net.UDPAddrFromAddrPort(local), nil
	default:
		return "", nil, fmt.Errorf("a socket of type %d and address %T, want tcp, udp, or a unix stream", kind, sa)
	}
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err == nil && listening == 0 {
		err = fmt.Errorf("a %s socket that does not listen, at %q", network, addr)
	}
	return network, addr, err
}

// FromPredecessor says whether HandOver started the process. It waits for Ready then.
func (in *Inheritance) FromPredecessor() bool { return in.handed }

// Ready tells the predecessor, if there is one, that its sockets are served now and it may go. The second call does
// nothing.
func (in *Inheritance) Ready() error {
	if in.ready == nil {
		return nil
	}
	_, err := in.ready.Write([]byte{1})
	err = errors.Join(err, in.ready.Close())
	in.ready = nil
	return err
}

// Close closes the files. A predecessor that waits learns that it waits in vain.
func (in *Inheritance) Close() {
	for _, s := range in.Sockets {
		for _, f := range s.Files {
			_ = f.Close()
		}
	}
	if in.ready != nil {
		_ = in.ready.Close()
	}
}

// HandOver starts cmd as the successor of this process: it inherits the sockets of the listeners, which Inherited gives
// it, and cmd's own ExtraFiles behind them. HandOver returns when the successor says that it is Ready. From then on the
// files of unix sockets are the successor's to remove, and the listeners may be closed: nobody who connects notices,
// for the sockets stay open all the time.
//
// If the successor ends before, or ctx is done, it is killed and the error says what happened; everything is as it was.
// Of a successor that is ready, cmd.Wait is left to be called.
func HandOver(ctx context.Context, cmd *exec.Cmd, listeners ...*Listener) error {
	var files []*os.File
	var names []string
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for _, lis := range listeners {
		own, err := lis.Files()
		if err != nil {
			return err
		}
		name := nameKeep
		if lis.file != nil && lis.unlink.Load() {
			name = nameUnlink
		}
		files = append(files, own...)
		names = append(names, slices.Repeat([]string{name}, len(own))...)
	}
	ready, say, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd.ExtraFiles = slices.Concat(files, []*os.File{say}, cmd.ExtraFiles)
	cmd.Env = append(slices.DeleteFunc(cmd.Environ(), func(s string) bool { return strings.HasPrefix(s, envPID+"=") }),
		fmt.Sprintf("%s=%d", envFDs, len(files)), envNames+"="+strings.Join(names, ":"),
		fmt.Sprintf("%s=%d", envPredecessor, os.Getpid()), fmt.Sprintf("%s=%d", envReady, firstFD+len(files)))
	err = cmd.Start()
	_ = say.Close()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Now()) })()
	if n, _ := ready.Read(make([]byte, 1)); n == 0 {
		_ = cmd.Process.Kill()
		err := cmd.Wait()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("reactor: the successor did not become ready: %w", err)
	}
	for _, lis := range listeners {
		lis.SetUnlinkOnClose(false)
	}
	return nil
}

// Files returns the listener's sockets as files of their own: one, or with ReusePort one for each loop. They are to be
// closed by the caller and keep the address bound meanwhile. It fails with net.ErrClosed after Close or Shutdown.
func (lis *Listener) Files() (files []*os.File, err error) {
	lis.mu.Lock()
	defer lis.mu.Unlock()
	for _, s := range lis.sockets {
		var fd int
		if s.descriptor() < 0 {
			err = net.ErrClosed
		} else {
			fd, err = unix.FcntlInt(uintptr(s.descriptor()), unix.F_DUPFD_CLOEXEC, 0)
			err = os.NewSyscallError("fcntl", err)
		}
		if err != nil {
			for _, f := range files {
				_ = f.Close()
			}
			return nil, err
		}
		files = append(files, os.NewFile(uintptr(fd), lis.String()))
	}
	return files, nil
}

// SetUnlinkOnClose says whether the file of a unix socket is removed when the listener closes. It is by default, unless
// ListenFiles made the listener.
func (lis *Listener) SetUnlinkOnClose(unlink bool) { lis.unlink.Store(unlink) }

// ListenFiles is Listen on a socket that was bound and made to listen elsewhere, see Inherited and Listener.Files, or on
// several that share one address (SO_REUSEPORT). The files stay the caller's to close. What is written of options holds,
// but that Backlog 0 leaves the socket's own, and ReusePort takes as many files as there are loops: with fewer, the
// loop with the fewest connections gets each.
func (r *Reactor) ListenFiles(files []*os.File, accept AcceptFunc, o *StreamOptions) (*Listener, error) {
	if accept == nil {
		return nil, errors.New("reactor: ListenFiles without an accept func")
	}
	opts, err := o.resolve()
	if err != nil {
		return nil, err
	}
	opts.ReusePort = opts.ReusePort && len(r.loops) > 1 && len(files) >= len(r.loops)
	lis := newStreamListener(r, "", accept, opts)
	return lis.listenFiles(files, []string{"tcp", "unix"}, func(l *loop, fd int) error {
		if err := lis.prepare(fd); err != nil {
			return err
		}
		lis.add(l, fd)
		return nil
	})
}

// prepare does for a socket that was made elsewhere what listenFD and listenUnix do for their own.
func (lis *Listener) prepare(fd int) error {
	if lis.network == "tcp" {
		for _, option := range append(lis.opts.listenOptions(), lis.opts.tcpOptions()...) {
			if err := option.SetSockOpt(fd, option.Opt); err != nil {
				return err
			}
		}
	} else if err := lis.opts.checkUnix(); err != nil {
		return err
	} else if path := lis.addr.String(); lis.file == nil && path != "" && path[0] != '@' {
		if info, err := os.Lstat(path); err == nil {
			lis.file = &socketFile{path, info}
		}
	}
	if lis.opts.Backlog > 0 {
		return os.NewSyscallError("listen", unix.Listen(fd, lis.opts.Backlog))
	}
	return nil
}

// ListenPacketFiles is ListenPacket on a socket that was bound elsewhere, or on several that share one address. The
// files stay the caller's to close. With fewer of them than loops the other loops receive nothing.
func (r *Reactor) ListenPacketFiles(files []*os.File, h PacketHandler, o *PacketOptions) (*Listener, error) {
	if h == nil {
		return nil, errors.New("reactor: ListenPacketFiles without a handler")
	}
	opts, err := o.resolveFor(h)
	if err != nil {
		return nil, err
	}
	lis := newPacketListener(r, "", nil)
	return lis.listenFiles(files, []string{"udp"}, func(l *loop, fd int) error {
		for _, option := range opts.socketOptions() {
			if err := option.SetSockOpt(fd, option.Opt); err != nil {
				return err
			}
		}
		s, err := lis.newPacketConn(fd, opts)
		if err == nil {
			lis.addPacketConn(l, s, h)
		}
		return err
	})
}

// listenFiles has the listener serve duplicates of files, which must be of one of the networks and of one address.
func (lis *Listener) listenFiles(files []*os.File, networks []string, add func(l *loop, fd int) error) (*Listener, error) {
	if len(files) == 0 {
		return nil, errors.New("reactor: no files to listen on")
	}
	for i, f := range files {
		fd, err := duplicate(f)
		if err == nil {
			if err = lis.checkFile(fd, networks); err == nil {
				err = add(lis.reactor.loops[i%len(lis.reactor.loops)], fd)
			}
			if err != nil {
				_ = unix.Close(fd)
			}
		}
		if err != nil {
			lis.abandon()
			return nil, listenError("file", f.Name(), err)
		}
	}
	if err := lis.start(); err != nil {
		return nil, listenError(lis.network, lis.addr.String(), err)
	}
	return lis, nil
}

// checkFile says why the listener cannot serve the socket. The first decides on network and address.
func (lis *Listener) checkFile(fd int, networks []string) error {
	network, addr, err := boundSocket(fd)
	switch {
	case err != nil:
		return err
	case !slices.Contains(networks, network):
		return fmt.Errorf("a %s socket, want %s", network, strings.Join(networks, " or "))
	case lis.addr == nil:
		lis.network, lis.addr = network, addr
		if sa, err := unix.Getsockname(fd); err == nil {
			lis.local = addrPortOf(sa)
		}
	case lis.network != network || lis.addr.String() != addr.String():
		return fmt.Errorf("a %s socket of %v among those of %v", network, addr, lis)
	}
	// O_NONBLOCK belongs to the open file, which others may have had: a loop must not wait in accept(2).
	return os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
}
