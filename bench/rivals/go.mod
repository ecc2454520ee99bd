module github.com/quartet-go/quartet/bench/rivals

go 1.26

require (
	github.com/Allenxuxu/gev v0.5.0
	github.com/Allenxuxu/ringbuffer v0.0.11
	github.com/cloudwego/netpoll v0.7.2
	github.com/lesismal/nbio v1.6.9
	github.com/tidwall/evio v1.0.8
)

require (
	github.com/Allenxuxu/toolkit v0.0.1 // indirect
	github.com/RussellLuo/timingwheel v0.0.0-20201029015908-64de9d088c74 // indirect
	github.com/bytedance/gopkg v0.1.1 // indirect
	github.com/cloudwego/gopkg v0.1.4 // indirect
	github.com/kavu/go_reuseport v1.5.0 // indirect
	github.com/libp2p/go-reuseport v0.0.1 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	golang.org/x/sys v0.19.0 // indirect
)
