//! Memory of ensembles: what a budget allows, and what is there once.

use super::*;

#[test]
fn budgets_hold_to_the_byte() {
    // x″ = −a x: some thousand trajectories of very different lengths, with jumps and events.
    let mut model = Builder::new(2);
    let (x, v, a) = (model.state(0..1), model.state(1..2), model.argument(1));
    let field = ProgramField::<f64>::new(model.finish(&concat(&[v, -(a * x)])).unwrap(), &[]).unwrap();
    let batch = 5 * field.leaf() + 9;
    let y0 = Array2::from_shape_fn((batch, 2), |(i, k)| ((3 * i + k) as f64).sin());
    let arguments = Array2::from_shape_fn((batch, 1), |(i, _)| 1.0 + i as f64 / batch as f64 * 30.0);
    let own = field.with_arguments(arguments.view()).unwrap();
    let times = Lists::shared(&[0.0, 4.0, 9.0]);
    let options = Options::new(Method::named("dopri5").unwrap());
    let event = |set: bool| {
        let mut when = Builder::new(2);
        when.argument(1);
        let x = when.state(0..1);
        let mut map = Builder::new(2);
        map.argument(1);
        let slower = concat(&[map.state(0..1), 0.95 * map.state(1..2)]);
        let set = set.then(|| map.finish(&slower).unwrap());
        Event { when: when.finish(&x).unwrap(), direction: Direction::Both, terminal: None, set }
    };
    for changes in [
        Changes::default(),
        Changes { events: vec![event(false)], ..Changes::default() },
        Changes { events: vec![event(true)], ..Changes::default() },
    ] {
        let gradient = |budget: usize| {
            let method = GradientMethod::Auto { budget };
            let mut all = ensemble::vjp(&own, y0.view(), &times, &options, &changes, Extras::default(), &method)?;
            let w = all.solution.y.to_vec();
            all.pullback(Cotangents { y: &w, event_times: &[], event_states: &[] })
        };
        let Err(Error::Budget { least, .. }) = gradient(1) else { panic!("one byte is too little") };
        let free = gradient(1 << 30).unwrap();
        for budget in [least, least + least / 5, 3 * least] {
            let bound = gradient(budget).unwrap();
            let peak = bound.stats.peak.total();
            assert!(peak <= budget, "{peak} bytes at the peak, {budget} allowed");
            assert_eq!(gradient_bits(&bound), gradient_bits(&free));
        }
    }
}

#[test]
fn budgets_count_the_outputs_of_leaves() {
    // Few steps between many outputs, which a leaf holds until they are among those of all.
    let architecture =
        Architecture { widths: vec![16, 1, 16], activation: Activation::Tanh, time: Time::None, bias: true };
    let field = Mlp::<f64>::new(architecture, 1).unwrap();
    let batch = 6 * VectorField::leaf(&field) + 5;
    let y0 = Array2::from_shape_fn((batch, 16), |(i, k)| ((3 * i + k) as f64).sin());
    for outputs in [2, 4, 9] {
        let times: Vec<f64> = (0..outputs).map(f64::from).collect();
        for threads in [1, 2] {
            let options =
                Options { steps: Steps::PerInterval(1), threads, ..Options::new(Method::named("heun3").unwrap()) };
            let gradient = |budget: usize| {
                let (method, times) = (GradientMethod::Auto { budget }, Lists::shared(&times));
                let none = Changes::default();
                let mut all = ensemble::vjp(&field, y0.view(), &times, &options, &none, Extras::default(), &method)?;
                let w = all.solution.y.to_vec();
                all.pullback(Cotangents { y: &w, event_times: &[], event_states: &[] })
            };
            let Err(Error::Budget { least, .. }) = gradient(1) else { panic!("one byte is too little") };
            for budget in [least, least + least / 5, 2 * least] {
                let peak = gradient(budget).unwrap().stats.peak.total();
                assert!(peak <= budget, "{outputs} outputs, {threads} threads: {peak} bytes, {budget} allowed");
            }
        }
    }
}

#[test]
fn matrices_are_packed_once_for_all_widths_and_threads() {
    let widths = vec![8, 40, 40, 8];
    let matrices: usize = widths.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let architecture = Architecture { widths, activation: Activation::Tanh, time: Time::None, bias: true };
    let field = Mlp::<f64>::new(architecture, 1).unwrap();
    // Blocks of all widths, and leaves for several threads.
    let batch = 4 * VectorField::leaf(&field) + 3;
    let y0 = Array2::from_shape_fn((batch, 8), |(i, k)| ((3 * i + k) as f64).sin());
    for threads in [1, 3] {
        let options = Options { threads, ..Options::new(Method::named("bosh3").unwrap()) };
        let (times, none) = (Lists::shared(&[0.0, 1.0]), Changes::default());
        let all = ensemble::odeint(&field, y0.view(), &times, &options, &none, Extras::default()).unwrap();
        let network = all.peak.of(Purpose::Network);
        // W for blocks and for one trajectory, whose rows fill whole registers; beside them biases, for each width.
        let most = 8 * (2 * matrices + 2 * 40 * 8 + threads * 6 * 200);
        assert!((16 * matrices..=most).contains(&network), "{network} bytes, at most {most} on {threads} threads");
    }
}
