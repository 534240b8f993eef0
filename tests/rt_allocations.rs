//! The steady state of a connection allocates nothing: fills, flushes and deadlines, on both drivers.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use igris::rt::{self, Conn, Deadline, Driver, Listener, Stop};

/// Counts the allocations of the thread that runs the test.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

#[allow(unsafe_code)] // A global allocator is an unsafe trait.
// SAFETY: every call goes to the system allocator unchanged; counting touches a thread-local that allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from `System` with this layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the block came from `System` with this layout.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

async fn exchange(client: &mut Conn, server: &mut Conn, deadline: &mut Deadline) {
    client.output().extend(&[1; 2500]);
    deadline.at(rt::coarse_now() + Duration::from_secs(10));
    deadline.run(client.flush()).await.expect("in time").expect("flush");
    while server.input().len() < 2500 {
        rt::with_deadline(rt::coarse_now() + Duration::from_secs(3), server.fill())
            .await
            .expect("in time")
            .expect("fill");
    }
    server.input().clear();
    server.output().extend(&[2; 700]);
    server.flush().await.expect("flush");
    while client.input().len() < 700 {
        deadline.run(client.fill()).await.expect("in time").expect("fill");
    }
    client.input().clear();
}

async fn steady_state_allocates_nothing() {
    let listener = Listener::bind("127.0.0.1:0".parse().expect("address"), false).expect("bind");
    let mut client = Conn::connect(listener.local_addr()).await.expect("connect");
    let (mut server, _) = listener.accept(&Stop::new()).await.expect("not stopped").expect("accept");
    let mut deadline = Deadline::new();
    for _ in 0..200 {
        exchange(&mut client, &mut server, &mut deadline).await;
    }
    let before = ALLOCATIONS.get();
    for _ in 0..1000 {
        exchange(&mut client, &mut server, &mut deadline).await;
    }
    // Deadlines that fire, with the ticker going to sleep and waking up, allocate nothing either.
    for _ in 0..10 {
        assert!(rt::with_deadline(rt::now() + Duration::from_millis(3), client.fill()).await.is_err());
    }
    let allocations = ALLOCATIONS.get() - before;
    assert_eq!(allocations, 0, "{}: allocations in 1000 exchanges", rt::current_driver().expect("inside"));
}

#[test]
fn fills_flushes_and_deadlines_allocate_nothing() {
    rt::block_on(Driver::Epoll, steady_state_allocates_nothing()).expect("epoll");
    if rt::resolve(rt::DriverChoice::IoUring).is_ok() {
        rt::block_on(Driver::IoUring, steady_state_allocates_nothing()).expect("io_uring");
    }
}
