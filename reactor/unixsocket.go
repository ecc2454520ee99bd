// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/panjf2000/gnet/v2/pkg/socket"
	"golang.org/x/sys/unix"
)

// probeTime bounds the attempt to reach whoever serves a unix path.
const probeTime = time.Second

// A socketFile is the file of a bound unix socket, to be removed with it. nil for an abstract socket.
type socketFile struct {
	path string
	info os.FileInfo
}

// remove removes the file unless another has taken its place.
func (f *socketFile) remove() {
	if f == nil {
		return
	}
	if info, err := os.Lstat(f.path); err == nil && os.SameFile(info, f.info) {
		_ = os.Remove(f.path)
	}
}

// bindUnix binds and listens at a path. A socket that nobody serves is left from a process that died, and replaced.
func bindUnix(path string) (int, *socketFile, error) {
	if err := checkPath(path); err != nil {
		return -1, nil, err
	}
	fd, _, err := socket.UnixSocket("unix", path, true, nil, nil)
	if errors.Is(err, unix.EADDRINUSE) && abandoned(path) {
		if err := os.Remove(path); err != nil {
			return -1, nil, err
		}
		fd, _, err = socket.UnixSocket("unix", path, true, nil, nil)
	}
	if err != nil {
		return -1, nil, err
	}
	if path[0] == '@' { // abstract, unix(7)
		return fd, nil, nil
	}
	info, err := os.Lstat(path)
	if err != nil {
		_ = unix.Close(fd)
		return -1, nil, err
	}
	return fd, &socketFile{path, info}, nil
}

// checkPath says why no unix socket can have that path, if so.
func checkPath(path string) error {
	if limit := len(unix.RawSockaddrUnix{}.Path) - 1; path == "" || len(path) > limit {
		return fmt.Errorf("path of %d bytes, must be 1 to %d", len(path), limit)
	}
	return nil
}

// abandoned says whether the path is a socket that refuses connections. A full backlog, for one, is no refusal.
func abandoned(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return false
	}
	conn, err := net.DialTimeout("unix", path, probeTime)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, unix.ECONNREFUSED)
}
